// A parameter server: one shard of the model, and in shard 0 the cluster's coordinator. The binary
// pd-server, pd-local and the tests all start it through this handle.

#ifndef PERCENTDELTA_SERVER_SERVER_H_
#define PERCENTDELTA_SERVER_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/trace.h"
#include "common/job/job.h"

namespace percentdelta {

// Where a server may be made to die: before it tells of norms, between the phases, before a
// checkpoint's slices are synced, ... (common/base/fault_point.h).
inline constexpr const char* kFaultPoints[] = {"phase",    "reduce_norms", "write",   "slice_file",
                                               "sync",     "rename",       "history", "manifest",
                                               "complete", "generation",   "restore"};

// Movable, thread-safe. The destructor shuts down without grace.
class Server {
 public:
  struct Options {
    Job job;
    int shard = 0;
    int shards = 1;

    // Where to listen; port 0 takes a free one.
    std::string listen = "127.0.0.1:0";

    // Where the others reach this server, which must be a host that one can connect to (not
    // 0.0.0.0). Empty: the listening host and port. A port of 0 is replaced by the one that was
    // taken.
    std::string advertise;

    // "host:port" of shard 0. Ignored by shard 0 itself.
    std::string coordinator;

    // That compute the updates. 0: one a core.
    int threads = 0;

    // How often the shard tells the coordinator that it lives. While shards are missing it is ten
    // times as often.
    absl::Duration heartbeat_interval = absl::Seconds(1);

    // Shard 0 alone: see Coordinator::Options.
    uint64_t first_generation = 1;
    absl::Duration lease_deadline = absl::ZeroDuration();
    int64_t history_steps = 10000;

    // Shard 0 alone, of a job with checkpoints or not: begin with this checkpoint, its directory or
    // one that has some (then the newest). Newer ones in the job's own directory are set aside.
    std::string restore;

    // Shard 0 alone: begin at step 0; all checkpoints in the job's directory are set aside.
    bool no_restore = false;

    // Outlives the server. Null: the steady clock.
    const Clock* clock = nullptr;
    Logger log;                    // null: silent
    std::shared_ptr<Trace> trace;  // null: none
    FaultPoints faults;            // of tests: see kFaultPoints
  };

  // Listens and begins to look for the other shards.
  //   kInvalidArgument  options that do not fit each other
  //   kResourceExhausted  the shard needs more memory than a known limit allows (memory_needed.h)
  //   kUnavailable      the address can not be listened on, as when the port is in use
  //   kFailedPrecondition, kDataLoss, others  the checkpoint to begin with is another job's, or
  //                     damaged, or its directory is not usable; the message says which
  static absl::StatusOr<Server> Start(Options options);

  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();

  int port() const;
  const std::string& address() const;  // as advertised

  // Waits until Shutdown (kOk), or until the coordinator has refused this shard for good: another
  // job, another number of shards, a newer process in its place. The message says which.
  absl::Status Wait() const;

  // Takes no more calls, gives those under way until `grace` has passed, ends them, and returns
  // when nothing runs any more. Safe to call twice.
  void Shutdown(absl::Duration grace = absl::ZeroDuration());

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SERVER_H_
