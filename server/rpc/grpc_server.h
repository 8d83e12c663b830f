// SPDX-License-Identifier: Apache-2.0

// A gRPC server with this project's settings. Listener accepts its connections, not gRPC
// (server/rpc/listener.h says why).

#ifndef PERCENTDELTA_SERVER_RPC_GRPC_SERVER_H_
#define PERCENTDELTA_SERVER_RPC_GRPC_SERVER_H_

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/address.h"
#include "common/base/log.h"
#include "server/rpc/handshake_watch.h"
#include "server/rpc/limits.h"
#include "server/rpc/listener.h"

namespace percentdelta {

// Thread-safe. The destructor shuts down without grace.
class GrpcServer {
 public:
  // Listens on `address` and serves `services`, which must outlive the server, and also the health
  // check and reflection. Connections use `credentials` (gatekeeper.h); null: plaintext, and every
  // call is served. Errors: those of Listener::Open; kInternal if gRPC cannot start.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const HostPort& address, const std::vector<grpc::Service*>& services, const Logger& log,
      const Limits& limits = {},
      const std::shared_ptr<grpc::ServerCredentials>& credentials = nullptr,
      HandshakeWatch* handshakes = nullptr);

  ~GrpcServer();

  int port() const { return listener_->port(); }

  // Sets what the health check reports for a service. Empty: the server as a whole, which is
  // serving from the start. A service is unknown to the health check before the first call.
  void SetServing(const std::string& service, bool serving);

  // Accepts no more connections and calls, lets calls in flight run for `grace`, cancels the rest,
  // and returns when all have ended. May be called more than once.
  void Shutdown(absl::Duration grace);

 private:
  explicit GrpcServer(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}

  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  const std::unique_ptr<Listener> listener_;  // last member: its thread uses the acceptor
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_GRPC_SERVER_H_
