// Calls shards back at the addresses that they advertise, to find out whether they answer there.

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
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "server/coordinator/membership.h"

namespace percentdelta {

// Thread-safe; no call blocks.
class ShardCaller {
 public:
  // `done` gets what came of each call (CheckIdentity), on a thread of gRPC's, under no lock.
  using Done = std::function<void(const Newcomer& newcomer, const absl::Status& status)>;
  ShardCaller(std::string job_hash, Done done);
  ~ShardCaller();  // Close()

  // Calls it, unless a call to it is under way or ended less than half a second ago.
  void Call(const Newcomer& newcomer);

  // Ends all calls, and returns when `done` runs no more. Not to be called from `done`.
  void Close();

 private:
  struct Line;  // to one newcomer

  void End(const std::shared_ptr<Line>& line, const absl::Status& status);

  const std::string job_hash_;
  const Done done_;

  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, std::shared_ptr<Line>> lines_ ABSL_GUARDED_BY(mutex_);  // by shard
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_SHARD_CALLER_H_
