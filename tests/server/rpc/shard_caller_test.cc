// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/shard_caller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/services.h"
#include "server/shard/shard.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

class ShardCallerTest : public testing::Test {
 protected:
  // Returns the outcome of a call.
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

TEST_F(ShardCallerTest, ChecksWhichProcessAnswers) {
  const Shard shard;
  const SteadyClock clock;
  CallLimiter limiter({{}, &clock, MakeSilentLogger(), nullptr});
  ParameterServerService service(shard, {1, "job", 7}, limiter);
  ASSERT_OK_AND_ASSIGN(const auto server,
                       GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger()));
  const std::string address = absl::StrCat("127.0.0.1:", server->port());
  EXPECT_OK(Call({1, address, 7}));
  EXPECT_THAT(Call({1, address, 8}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Call({0, address, 7}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("shard 1 answers")));
  // A gRPC server that is not a shard.
  v1::Statistics::CallbackService statistics;
  ASSERT_OK_AND_ASSIGN(const auto other,
                       GrpcServer::Start({"127.0.0.1", 0}, {&statistics}, MakeSilentLogger()));
  const std::string elsewhere = absl::StrCat("127.0.0.1:", other->port());
  EXPECT_THAT(Call({2, elsewhere, 7}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("UNIMPLEMENTED")));
  other->Shutdown(absl::ZeroDuration());
  EXPECT_THAT(Call({3, elsewhere, 7}), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ShardCallerTest, CloseCancelsCallsInFlight) {
  // Listens, but never answers.
  Listener::Options options;
  options.address = {"127.0.0.1", 0};
  options.log = MakeSilentLogger();
  ASSERT_OK_AND_ASSIGN(const auto silent, Listener::Open(options));
  caller_.Call({1, absl::StrCat("127.0.0.1:", silent->port()), 7});
  caller_.Close();
  absl::MutexLock lock(&mutex_);
  EXPECT_FALSE(result_.has_value());
}

}  // namespace
}  // namespace percentdelta
