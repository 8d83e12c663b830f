// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/services.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/refusal_log.h"
#include "server/rpc/role_table.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

class ServicesTest : public testing::Test {
 protected:
  Coordinator::Options CoordinatorOptions() {
    Coordinator::Options options;
    options.job = job_;
    options.clock = &clock_;
    options.log = MakeSilentLogger();
    return options;
  }

  // Calls an RPC by its path with an empty request, for a short time.
  static void Call(const std::shared_ptr<grpc::Channel>& channel, const std::string& path) {
    grpc::GenericStub stub(channel);
    grpc::ClientContext context;
    SetDeadline(context, absl::Milliseconds(300));
    grpc::Slice nothing;
    grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    absl::Notification done;
    stub.UnaryCall(&context, path, {}, &request, &response,
                   [&](const grpc::Status& /*status*/) { done.Notify(); });
    done.WaitForNotification();
  }

  FakeClock clock_;
  const Job job_ = SmallJob();
  ShardGroup group_{job_, 1, 1};
  Shard shard_;
  std::atomic<int> entered_{0};
  RefusalLog refusals_{MakeSilentLogger(), clock_};
  CallLimiter limiter_{
      {Limits(), &clock_, MakeSilentLogger(), nullptr, [this](const std::string& connection) {
         EXPECT_TRUE(absl::StartsWith(connection, "ipv4:127.0.0.1:"));
         ++entered_;
       }}};
  Coordinator coordinator_{CoordinatorOptions()};
  ParameterServerService parameters_{shard_, {}, limiter_};
  CoordinatorService coordinator_service_{coordinator_, refusals_, limiter_};
  StatisticsService statistics_{coordinator_.statistics(), limiter_};
};

// What is not reported is taken for refused (server/rpc/refusal_watch.h).
TEST_F(ServicesTest, EveryRpcReportsItsCallsOnce) {
  shard_.Open(group_.state(0));
  ASSERT_OK_AND_ASSIGN(
      const auto server,
      GrpcServer::Start({"127.0.0.1", 0}, {&parameters_, &coordinator_service_, &statistics_},
                        MakeSilentLogger()));
  const auto channel = MakeChannel(absl::StrCat("127.0.0.1:", server->port()));
  int expected = 0;
  for (const RpcRule& rule : RoleTable()) {
    if (!absl::StartsWith(rule.path, "/percentdelta.")) continue;
    Call(channel, std::string(rule.path));
    EXPECT_EQ(entered_, ++expected) << rule.path;
    entered_ = expected;
  }
  EXPECT_GT(expected, 10);
  coordinator_.Close();
}

}  // namespace
}  // namespace percentdelta
