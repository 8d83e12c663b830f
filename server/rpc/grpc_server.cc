#include "server/rpc/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>

#include <chrono>
#include <utility>

#include "common/transport/channel.h"

namespace percentdelta {
namespace {

// Calls at once on one connection. A worker has some, a shard as many as it has slices; the default
// has no limit, and any client could hold all of the memory.
constexpr int kMaxStreams = 4096;

// From a connection to its HTTP/2 settings. The default of 120 s lets whoever only connects hold a
// descriptor for that long; a slow or busy client needs seconds.
constexpr int kHandshakeTimeoutMs = 20'000;

// After a probe that is not answered. gRPC's default, longer than a client's: the server loses less
// by waiting.
constexpr int kKeepaliveTimeoutMs = 20'000;

// Defaults that stay: connections have no greatest age and are not closed for being idle
// (GRPC_ARG_MAX_CONNECTION_*): a worker may compute for an hour between two calls; three probes
// that come too soon end a connection (GRPC_ARG_HTTP2_MAX_PING_STRIKES), and clients of ours probe
// at twice the interval that is allowed.
void SetArguments(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  // The default probes every two hours: a worker whose machine is gone would be waited for.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The default of five minutes would end connections whose clients probe as often as ours.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kServerKeepaliveMinMs);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const HostPort& address, const std::vector<grpc::Service*>& services, const Logger& log) {
  Listener::Options options;
  options.address = address;
  options.log = log;
  absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Open(std::move(options));
  if (!listener.ok()) return listener.status();
  std::unique_ptr<GrpcServer> result(new GrpcServer);
  result->listener_ = *std::move(listener);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  using FromFd = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  result->acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      FromFd::FROM_FD, grpc::InsecureServerCredentials());
  SetArguments(builder);
  for (grpc::Service* service : services) builder.RegisterService(service);
  result->server_ = builder.BuildAndStart();
  if (result->server_ == nullptr) {
    return absl::InternalError("gRPC cannot start a server: is there a lack of memory or threads?");
  }
  result->listener_->Accept([acceptor = result->acceptor_.get()](int fd) {
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
