// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <chrono>
#include <utility>

#include "common/base/status_macros.h"
#include "common/transport/channel.h"

namespace percentdelta {
namespace {

// Reflection is the only service that blocks a thread for each of its streams; further streams are
// refused.
constexpr int kReflectionThreads = 8;

// Time to wait for the answer to a keepalive ping. This is gRPC's default, and longer than a
// client's: waiting costs the server less.
constexpr int kKeepaliveTimeoutMs = 20'000;

// Two defaults are kept. Connections have no maximum age and are not closed when idle
// (GRPC_ARG_MAX_CONNECTION_*), because a worker may compute for an hour between two calls. Three
// pings sent too early end a connection (GRPC_ARG_HTTP2_MAX_PING_STRIKES); our clients ping at
// twice the permitted interval.
void SetArguments(grpc::ServerBuilder& builder, const Limits& limits) {
  grpc::ResourceQuota quota("server");
  quota.Resize(static_cast<size_t>(limits.transport_bytes));
  quota.SetMaxThreads(kReflectionThreads);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(limits.message_bytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, limits.metadata_bytes);
  // gRPC sets no limit by default, and waits for 120 s for the first message of a connection.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.streams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(limits.handshake)));
  // gRPC's default is to ping every two hours: calls of a worker whose machine is down would stay
  // open for that long.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // What begun_calls.h reads; this is gRPC's default.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 1);
  // gRPC's default of five minutes would end the connections of our clients, which ping more often.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kServerKeepaliveMinMs);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const HostPort& address, const std::vector<grpc::Service*>& services, const Logger& log,
    const Limits& limits, const std::shared_ptr<grpc::ServerCredentials>& credentials,
    HandshakeWatch* handshakes) {
  Listener::Options options;
  options.address = address;
  options.max_connections = limits.connections;
  options.max_connections_per_address = limits.connections_per_address;
  options.log = log;
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Listener::Open(std::move(options)));
  std::unique_ptr<GrpcServer> result(new GrpcServer(std::move(listener)));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  using FromFd = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  result->acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      FromFd::FROM_FD, credentials == nullptr ? grpc::InsecureServerCredentials() : credentials);
  SetArguments(builder, limits);
  for (grpc::Service* service : services) builder.RegisterService(service);
  result->server_ = builder.BuildAndStart();
  if (result->server_ == nullptr) {
    return absl::InternalError(
        "gRPC could not start a server; check the limits of memory and threads");
  }
  result->listener_->Accept([acceptor = result->acceptor_.get(), handshakes](int fd) {
    if (handshakes != nullptr) handshakes->Accepted(fd);
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = fd;
    acceptor->HandleNewConnection(&connection);
  });
  return result;
}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

void GrpcServer::SetServing(const std::string& service, bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(service, serving);
}

void GrpcServer::Shutdown(absl::Duration grace) {
  listener_->Stop();
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace));
}

}  // namespace percentdelta
