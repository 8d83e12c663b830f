#include "server/rpc/shard_caller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/log.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/services.h"
#include "server/shard/shard.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

class ShardCallerTest : public testing::Test {
 protected:
  // What came of a call.
  absl::Status Call(const Newcomer& newcomer) {
    {
      absl::MutexLock lock(&mutex_);
      result_.reset();
    }
    caller_.Call(newcomer);
    const auto there = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return result_.has_value(); };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&there));
    return *result_;
  }

  absl::Mutex mutex_;
  std::optional<absl::Status> result_ ABSL_GUARDED_BY(mutex_);
  ShardCaller caller_{"job", [this](const Newcomer& /*newcomer*/, const absl::Status& status) {
                        absl::MutexLock lock(&mutex_);
                        result_ = status;
                      }};
};

TEST_F(ShardCallerTest, FindsOutWhoAnswers) {
  const Shard shard;
  ParameterServerService service(shard, {1, "job", 7});
  const auto server = GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger());
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = absl::StrCat("127.0.0.1:", (*server)->port());
  EXPECT_EQ(Call({1, address, 7}), absl::OkStatus());
  EXPECT_EQ(Call({1, address, 8}).code(), absl::StatusCode::kFailedPrecondition);
  const absl::Status status = Call({0, address, 7});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("shard 1 answers"));
  // A gRPC server that knows nothing of shards.
  v1::Statistics::CallbackService statistics;
  const auto other = GrpcServer::Start({"127.0.0.1", 0}, {&statistics}, MakeSilentLogger());
  ASSERT_TRUE(other.ok()) << other.status();
  const std::string elsewhere = absl::StrCat("127.0.0.1:", (*other)->port());
  EXPECT_THAT(std::string(Call({2, elsewhere, 7}).message()), HasSubstr("UNIMPLEMENTED"));
  (*other)->Shutdown(absl::ZeroDuration());
  EXPECT_EQ(Call({3, elsewhere, 7}).code(), absl::StatusCode::kUnavailable);
}

TEST_F(ShardCallerTest, CloseEndsWhatIsUnderWay) {
  // Listens and says nothing.
  Listener::Options options;
  options.address = {"127.0.0.1", 0};
  options.log = MakeSilentLogger();
  const auto silent = Listener::Open(options);
  ASSERT_TRUE(silent.ok()) << silent.status();
  caller_.Call({1, absl::StrCat("127.0.0.1:", (*silent)->port()), 7});
  caller_.Close();
  absl::MutexLock lock(&mutex_);
  EXPECT_FALSE(result_.has_value());
}

}  // namespace
}  // namespace percentdelta
