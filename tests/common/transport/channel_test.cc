// SPDX-License-Identifier: Apache-2.0

#include "common/transport/channel.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

// A server without services: calls that reach it get UNIMPLEMENTED.
struct EmptyServer {
  explicit EmptyServer(const std::string& listen) {
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&generic);
    builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
    server = builder.BuildAndStart();
  }
  ~EmptyServer() {
    if (server != nullptr) server->Shutdown();
  }

  int port = 0;
  grpc::CallbackGenericService generic;
  std::unique_ptr<grpc::Server> server;
};

grpc::StatusCode CodeOf(const std::string& address) {
  grpc::GenericStub stub(MakeChannel(address));
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(10));
  grpc::Slice nothing("", 1);
  grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(&context, "/no/Such", {}, &request, &response, [&](const grpc::Status& result) {
    status = result;
    done.Notify();
  });
  done.WaitForNotification();
  return status.error_code();
}

// Docker sets them in every container.
TEST(ChannelTest, IgnoresAProxyInTheEnvironment) {
  const EmptyServer server("127.0.0.1:0");
  for (const char* name : {"http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY",
                           "HTTPS_PROXY", "GRPC_PROXY", "ALL_PROXY"}) {
    setenv(name, "http://127.0.0.1:1", 1);
    EXPECT_EQ(CodeOf(absl::StrCat("127.0.0.1:", server.port)), grpc::StatusCode::UNIMPLEMENTED)
        << name;
    unsetenv(name);
  }
}

TEST(ChannelTest, ResolvesNamesAsTheSystemDoes) {
  EXPECT_STREQ(getenv("GRPC_DNS_RESOLVER"), "native");
}

TEST(ChannelTest, ConnectsToNamesAndIpv6) {
  const EmptyServer server("127.0.0.1:0");
  EXPECT_EQ(CodeOf(absl::StrCat("localhost:", server.port)), grpc::StatusCode::UNIMPLEMENTED);
  const EmptyServer ipv6("[::1]:0");
  if (ipv6.port != 0) {
    EXPECT_EQ(CodeOf(absl::StrCat("[::1]:", ipv6.port)), grpc::StatusCode::UNIMPLEMENTED);
  }
}

// gRPC itself would connect to these.
TEST(ChannelTest, CallsFailIfTheAddressIsNotHostAndPort) {
  const EmptyServer server("unix:/tmp/pd-channel-test.sock");
  const EmptyServer tcp("127.0.0.1:0");
  for (const std::string& address :
       {std::string("unix:/tmp/pd-channel-test.sock"), std::string(""), std::string("xds:///x:1"),
        std::string("fd:3"), absl::StrCat("ipv4:127.0.0.1:", tcp.port),
        absl::StrCat("dns:///127.0.0.1:", tcp.port)}) {
    EXPECT_EQ(CodeOf(address), grpc::StatusCode::UNAVAILABLE) << address;
  }
}

// With characters that take three bytes each on the wire.
TEST(ChannelTest, ALongErrorFitsIntoMetadata) {
  const grpc::Status sent = ToGrpc(absl::NotFoundError(std::string(1'000'000, '\n')));
  EXPECT_LT(3 * sent.error_message().size() + 4096, static_cast<size_t>(kMaxMetadataBytes));
  EXPECT_EQ(sent.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ToGrpc(absl::NotFoundError("short")).error_message(), "short");
}

}  // namespace
}  // namespace percentdelta
