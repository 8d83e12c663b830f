// A gRPC server with this project's settings, behind a listener of our own (server/rpc/listener.h).

#ifndef PERCENTDELTA_SERVER_RPC_GRPC_SERVER_H_
#define PERCENTDELTA_SERVER_RPC_GRPC_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/address.h"
#include "common/base/log.h"
#include "server/rpc/listener.h"

namespace percentdelta {

// Thread-safe. The destructor shuts down without grace.
class GrpcServer {
 public:
  // Listens at `address` and serves `services`, which outlive the server, the health check and
  // reflection. Errors: Listener::Open.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const HostPort& address, const std::vector<grpc::Service*>& services, const Logger& log);

  ~GrpcServer();

  int port() const { return listener_->port(); }

  // What the health check says of a service; empty: of the server as a whole, which serves from the
  // start. Others are not known to it before this.
  void SetServing(const std::string& service, bool serving);

  // Takes no more connections and calls, gives those under way until `grace` has passed, ends them
  // and returns when nothing runs any more. Safe to call twice.
  void Shutdown(absl::Duration grace);

 private:
  GrpcServer() = default;

  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Listener> listener_;  // the last member: its thread uses the acceptor
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_GRPC_SERVER_H_
