// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/grpc_server.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "percentdelta/v1/statistics.grpc.pb.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

absl::Status Call(int port) {
  const std::shared_ptr<grpc::Channel> channel = MakeChannel(absl::StrCat("127.0.0.1:", port));
  const auto stub = v1::Statistics::NewStub(channel);
  grpc::ClientContext context;
  SetDeadline(context, absl::Minutes(1));
  v1::GetUpdateStatisticsResponse response;
  return FromGrpc(stub->GetUpdateStatistics(&context, {}, &response));
}

TEST(GrpcServerTest, ServesUntilShutdown) {
  v1::Statistics::Service service;  // answers UNIMPLEMENTED
  ASSERT_OK_AND_ASSIGN(const auto server,
                       GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger()));
  EXPECT_THAT(Call(server->port()), StatusIs(absl::StatusCode::kUnimplemented));
  server->Shutdown(absl::ZeroDuration());
  server->Shutdown(absl::ZeroDuration());
  EXPECT_THAT(Call(server->port()), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(GrpcServerTest, ReportsAPortInUse) {
  v1::Statistics::Service service;
  ASSERT_OK_AND_ASSIGN(const auto server,
                       GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger()));
  EXPECT_THAT(
      GrpcServer::Start({"127.0.0.1", server->port()}, {&service}, MakeSilentLogger()).status(),
      StatusIs(absl::StatusCode::kUnavailable, HasSubstr("Address already in use")));
}

}  // namespace
}  // namespace percentdelta
