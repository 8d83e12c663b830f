// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/grpc_server.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/descriptors.h"
#include "common/base/log.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "percentdelta/v1/statistics.grpc.pb.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

absl::Status Call(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = v1::Statistics::NewStub(channel);
  grpc::ClientContext context;
  SetDeadline(context, absl::Minutes(1));
  v1::GetUpdateStatisticsResponse response;
  return FromGrpc(stub->GetUpdateStatistics(&context, {}, &response));
}

absl::Status Call(int port) { return Call(MakeChannel(absl::StrCat("127.0.0.1:", port))); }

TEST(GrpcServerTest, ServesUntilShutdown) {
  v1::Statistics::Service service;  // answers UNIMPLEMENTED
  ASSERT_OK_AND_ASSIGN(const auto server,
                       GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger()));
  EXPECT_THAT(Call(server->port()), StatusIs(absl::StatusCode::kUnimplemented));
  server->Shutdown(absl::ZeroDuration());
  server->Shutdown(absl::ZeroDuration());
  EXPECT_THAT(Call(server->port()), StatusIs(absl::StatusCode::kUnavailable));
}

// What a client that is one too many sees; other tests have what the server logs.
TEST(GrpcServerTest, LimitsTheConnectionsOfOneAddress) {
  v1::Statistics::Service service;
  Limits limits;
  limits.connections_per_address = 1;
  ASSERT_OK_AND_ASSIGN(const auto server,
                       GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger(), limits));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  const auto first = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server->port()),
                                               grpc::InsecureChannelCredentials(), arguments);
  EXPECT_THAT(Call(first), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(Call(server->port()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Call(first), StatusIs(absl::StatusCode::kUnimplemented));
}

// A connection on which nothing comes is closed.
TEST(GrpcServerTest, LimitsTheTimeOfAHandshake) {
  v1::Statistics::Service service;
  Limits limits;
  limits.handshake = absl::Milliseconds(100);
  ASSERT_OK_AND_ASSIGN(const auto server,
                       GrpcServer::Start({"127.0.0.1", 0}, {&service}, MakeSilentLogger(), limits));
  const UniqueDescriptor client(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(server->port()));
  const timeval give_up = {30, 0};
  ASSERT_EQ(setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &give_up, sizeof(give_up)), 0);
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  std::array<char, 1024> bytes = {};
  ssize_t received = 0;
  do {
    received = recv(client.get(), bytes.data(), bytes.size(), 0);  // the server's settings
  } while (received > 0);
  EXPECT_FALSE(received < 0 && errno == EAGAIN) << "the connection is still open";
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
