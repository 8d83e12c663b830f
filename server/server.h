// SPDX-License-Identifier: Apache-2.0

// A parameter server: one shard of the model, and in shard 0 the cluster's coordinator. The binary
// pd-server, pd-local and the tests all start it through this handle.

#ifndef PERCENTDELTA_SERVER_SERVER_H_
#define PERCENTDELTA_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/server_options.h"

namespace percentdelta {

// Movable, thread-safe. The destructor shuts down without grace.
class Server {
 public:
  using Options = ServerOptions;

  // Listens, and starts to look for the other shards.
  //   kInvalidArgument    options that are invalid or contradict each other
  //   kResourceExhausted  the shard needs more memory than a known limit allows (memory_needed.h)
  //   kUnavailable        cannot listen on the address, for example because the port is in use
  //   kFailedPrecondition, kDataLoss, others
  //                       the checkpoint to start from is of another job or damaged, or its
  //                       directory is unusable, or the job's file of initial weights is not as the
  //                       job says (initial_weights_file.h); the message says which
  static absl::StatusOr<Server> Start(Options options);

  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();

  int port() const;
  const std::string& address() const;   // as advertised
  std::string metrics_address() const;  // empty: none are served

  // Of the live page; empty if there is none.
  std::string page_url() const;

  // Waits until Shutdown or the end of a drain (kOk), or until the coordinator has refused this
  // shard for good: another job, another number of shards, a newer process in its place. The
  // message says which.
  absl::Status Wait() const;

  // Accepts no more calls, lets those in flight run for `grace`, cancels the rest, and returns when
  // all threads and callbacks have ended. May be called more than once.
  void Shutdown(absl::Duration grace = absl::ZeroDuration());

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SERVER_H_
