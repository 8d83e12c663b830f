// SPDX-License-Identifier: Apache-2.0

// The limits of calls, over connections.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/log.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/connections.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/services.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

constexpr int kWatchers = 2;
constexpr int kRefusals = 3;

// A shard and a coordinator's statistics, with low limits and a clock that the test moves.
class CallLimitsTest : public testing::Test {
 protected:
  CallLimitsTest() {
    shard_.Open(group_.state(0));
    server_ = *GrpcServer::Start({"127.0.0.1", 0}, {&parameters_, &statistics_service_},
                                 MakeSilentLogger());
    port_ = server_->port();
  }

  static Limits TestLimits() {
    Limits limits;
    limits.of(CallKind::kWatch) = {kWatchers, kWatchers, kWatchers};
    limits.queries_per_second = 1;
    limits.refusals = kRefusals;
    return limits;
  }

  std::shared_ptr<grpc::Channel> Channel() const {
    return MakeChannel(absl::StrCat("127.0.0.1:", port_.load()));
  }

  static absl::Status Query(v1::Statistics::Stub& stub) {
    grpc::ClientContext context;
    SetDeadline(context, absl::Minutes(1));
    context.set_wait_for_ready(true);
    v1::GetUpdateStatisticsResponse response;
    return FromGrpc(stub.GetUpdateStatistics(&context, {}, &response));
  }

  FakeClock clock_;
  const Job job_ = SmallJob();
  StatisticsRing ring_{job_, 10};
  ShardGroup group_{job_, 1, 1};
  Shard shard_;
  std::atomic<int> port_{0};
  std::atomic<int> disconnected_{0};
  CallLimiter limiter_{{TestLimits(), &clock_, MakeSilentLogger(), [this](const std::string& peer) {
                          if (ShutDownConnection(port_, peer)) ++disconnected_;
                        }}};
  ParameterServerService parameters_{shard_, {}, limiter_};
  StatisticsService statistics_service_{ring_, limiter_};
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(CallLimitsTest, APushOnWhichNothingMovesEnds) {
  const auto stub = v1::ParameterServer::NewStub(Channel());
  grpc::ClientContext context;
  SetDeadline(context, absl::Minutes(1));
  v1::PushResponse response;
  const auto stream = stub->Push(&context, &response);
  v1::PushRequest header;
  header.mutable_header()->set_generation(1);
  EXPECT_TRUE(stream->Write(header));
  while (limiter_.count(CallKind::kPush) == 0) absl::SleepFor(absl::Milliseconds(1));
  while (limiter_.count(CallKind::kPush) > 0) {  // the header may still have to be read
    clock_.Advance(TestLimits().stall);
    limiter_.Tick();
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_THAT(FromGrpc(stream->Finish()), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                                   HasSubstr("pushes: nothing has moved")));
}

TEST_F(CallLimitsTest, RefusesAWatcherTooMany) {
  const auto stub = v1::Statistics::NewStub(Channel());
  grpc::ClientContext contexts[kWatchers + 1];
  std::unique_ptr<grpc::ClientReader<v1::StepStatistics>> streams[kWatchers + 1];
  for (int i = 0; i <= kWatchers; ++i) {
    streams[i] = stub->WatchUpdateStatistics(&contexts[i], {});
    while (i < kWatchers && limiter_.count(CallKind::kWatch) <= i) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  EXPECT_THAT(FromGrpc(streams[kWatchers]->Finish()),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("watchers in flight")));
  contexts[0].TryCancel();
  contexts[1].TryCancel();
  for (int i = 0; i < kWatchers; ++i) {
    EXPECT_THAT(FromGrpc(streams[i]->Finish()), StatusIs(absl::StatusCode::kCancelled));
  }
}

// A call beyond the limit of a connection waits for its turn.
TEST_F(CallLimitsTest, LimitsTheStreamsOfAConnection) {
  Limits limits;
  limits.streams = 1;
  StatisticsService service(ring_, limiter_);
  ASSERT_OK_AND_ASSIGN(const auto server,
                       GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger(), limits));
  const auto stub =
      v1::Statistics::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", server->port())));
  const auto query = [&](absl::Duration timeout) {
    grpc::ClientContext context;
    SetDeadline(context, timeout);
    v1::GetUpdateStatisticsResponse response;
    return FromGrpc(stub->GetUpdateStatistics(&context, {}, &response));
  };
  EXPECT_OK(query(absl::Minutes(1)));  // the server's settings have come
  clock_.Advance(absl::Minutes(1));
  grpc::ClientContext context;
  const auto stream = stub->WatchUpdateStatistics(&context, {});
  while (limiter_.count(CallKind::kWatch) == 0) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(query(absl::Milliseconds(300)), StatusIs(absl::StatusCode::kDeadlineExceeded));
  context.TryCancel();
  EXPECT_THAT(FromGrpc(stream->Finish()), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_OK(query(absl::Minutes(1)));
}

// Only pushes, and requests of servers, may be long: others are measured before they are parsed.
TEST_F(CallLimitsTest, RefusesLongRequestsAndNames) {
  const auto query = [&](const std::string& layer) {
    const auto stub = v1::Statistics::NewStub(Channel());
    grpc::ClientContext context;
    SetDeadline(context, absl::Minutes(1));
    v1::GetUpdateStatisticsRequest request;
    request.set_layer(layer);
    v1::GetUpdateStatisticsResponse response;
    return FromGrpc(stub->GetUpdateStatistics(&context, request, &response));
  };
  EXPECT_THAT(query(std::string(65'536, 'x')),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       HasSubstr("GetUpdateStatisticsRequest: expected at most 65536 bytes, got "
                                 "65540; raise --limits=request_bytes=")));
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(query(std::string(513, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("GetUpdateStatisticsRequest.layer: expected at most 512 bytes, "
                                 "got 513; shorten the name, or raise --limits=name_bytes=")));
}

TEST_F(CallLimitsTest, RefusesAPushWithALongTensorName) {
  const auto stub = v1::ParameterServer::NewStub(Channel());
  grpc::ClientContext context;
  SetDeadline(context, absl::Minutes(1));
  v1::PushResponse response;
  const auto stream = stub->Push(&context, &response);
  v1::PushRequest request;
  request.mutable_header()->set_generation(1);
  request.set_tensor(std::string(10'000, 'x'));
  stream->Write(request);
  EXPECT_THAT(FromGrpc(stream->Finish()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("PushRequest.tensor: expected at most 512 bytes, got 10000")));
}

// Headers count before a call begins; the library refuses them.
TEST_F(CallLimitsTest, RefusesLongHeaders) {
  const auto stub = v1::Statistics::NewStub(Channel());
  grpc::ClientContext context;
  SetDeadline(context, absl::Minutes(1));
  context.AddMetadata("x", std::string(Limits().metadata_bytes, 'x'));
  v1::GetUpdateStatisticsResponse response;
  EXPECT_THAT(FromGrpc(stub->GetUpdateStatistics(&context, {}, &response)),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(CallLimitsTest, DisconnectsTheClientThatIsRefusedAgainAndAgain) {
  const auto stub = v1::Statistics::NewStub(Channel());
  while (disconnected_ == 0) Query(*stub).IgnoreError();
  while (!Query(*stub).ok()) absl::SleepFor(absl::Milliseconds(1));  // over another connection
  EXPECT_EQ(disconnected_, 1);
}

}  // namespace
}  // namespace percentdelta
