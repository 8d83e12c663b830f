// The coordinator, as workers and tools call it.

#ifndef PERCENTDELTA_CLIENT_COORDINATOR_STUB_H_
#define PERCENTDELTA_CLIENT_COORDINATOR_STUB_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/cluster/cluster_info.h"
#include "common/cluster/lease.h"
#include "common/cluster/progress.h"

namespace percentdelta {

// Thread-safe. Calls block until answered; all of them may be repeated without harm.
class CoordinatorStub {
 public:
  virtual ~CoordinatorStub() = default;

  virtual absl::StatusOr<ClusterInfo> GetJob() = 0;

  // Waits up to `max_wait` for work; the answer may be of kind kWait.
  virtual absl::StatusOr<Lease> AcquireLease(const WorkerIdentity& worker,
                                             absl::Duration max_wait) = 0;

  // The answer is the next lease, or kWait.
  virtual absl::StatusOr<Lease> CompleteLease(const LeaseResult& result) = 0;

  // Lets the deadline of a lease that gets on begin anew; returns it. kFailedPrecondition: the
  // lease is void, its work done or its generation over.
  virtual absl::StatusOr<absl::Duration> RenewLease(const Lease& lease,
                                                    const std::string& worker) = 0;

  // Wants a checkpoint; returns the step that it will be of, or of a later one.
  //   kFailedPrecondition  the job has no checkpoints, or the training has ended
  virtual absl::StatusOr<int64_t> TakeCheckpoint() = 0;

  virtual absl::StatusOr<Progress> GetProgress(int64_t from_step) = 0;

  // Calls that fail are not made again from now on, and pauses before that end (MakeRetryingStub).
  virtual void StopRetrying() {}

  // Ends the calls under way, and those that come later, with kCancelled. Stubs of tests, whose
  // calls do not wait, need not do anything.
  virtual void Cancel() {}
};

// Calls the coordinator at `address` over gRPC. Each call fails with kDeadlineExceeded after
// `deadline` (AcquireLease: after that and its own wait), and with kUnavailable at once when nobody
// answers there.
std::unique_ptr<CoordinatorStub> MakeCoordinatorStub(const std::string& address,
                                                     absl::Duration deadline);

struct RetryPolicy {
  // Pauses double from the first to the longest, each shortened at random by up to a half.
  absl::Duration first_pause = absl::Milliseconds(50);
  absl::Duration longest_pause = absl::Seconds(2);

  // A call gives up when it has failed for so long.
  absl::Duration give_up_after = absl::Minutes(10);

  // Asked after each failed attempt; true ends the call with kCancelled. Empty: never.
  std::function<bool()> stopped;
};

// Repeats the calls of `stub` while they fail with errors that pass (common/base/transience.h):
// those that do anyway, and, once the coordinator has answered, those of something else that has
// its port for a while. One line tells of the first failure and one of the recovery, whatever the
// number of attempts in between.
std::unique_ptr<CoordinatorStub> MakeRetryingStub(std::unique_ptr<CoordinatorStub> stub,
                                                  const std::string& address, RetryPolicy policy,
                                                  Logger log);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_COORDINATOR_STUB_H_
