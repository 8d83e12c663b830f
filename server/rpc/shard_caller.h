// SPDX-License-Identifier: Apache-2.0

// Calls shards back at the addresses that they advertise, to check that they answer there: the
// coordinator's client of ParameterServer.Identify.

#ifndef PERCENTDELTA_SERVER_RPC_SHARD_CALLER_H_
#define PERCENTDELTA_SERVER_RPC_SHARD_CALLER_H_

#include <grpcpp/client_context.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/transport/credentials.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "server/coordinator/membership.h"

namespace percentdelta {

// Thread-safe. Only Close() blocks.
class ShardCaller {
 public:
  // `done` receives the outcome of each call (CheckIdentity), on one of gRPC's threads, under no
  // lock. `credentials`: see MakeChannel.
  using Done = std::function<void(const Newcomer& newcomer, const absl::Status& status)>;
  ShardCaller(std::string job_hash, Done done,
              std::shared_ptr<const ClientCredentials> credentials = nullptr);
  ~ShardCaller();  // Close()

  // Calls the newcomer, unless a call to it is in flight or ended less than half a second ago.
  void Call(const Newcomer& newcomer);

  // Cancels all calls, and returns when no `done` is running. Must not be called from `done`.
  void Close();

 private:
  struct Connection;  // to one newcomer

  void End(const std::shared_ptr<Connection>& connection, const absl::Status& status);

  const std::string job_hash_;
  const Done done_;
  const std::shared_ptr<const ClientCredentials> credentials_;

  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, std::shared_ptr<Connection>> connections_ ABSL_GUARDED_BY(mutex_);  // by shard
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_SHARD_CALLER_H_
