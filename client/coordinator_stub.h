// SPDX-License-Identifier: Apache-2.0

// The coordinator as workers and tools see it.

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

class ClientCredentials;  // common/transport/credentials.h

// Thread-safe. Each call blocks until it is answered. All calls are idempotent.
class CoordinatorStub {
 public:
  virtual ~CoordinatorStub() = default;

  virtual absl::StatusOr<ClusterInfo> GetJob() = 0;

  // Waits up to `max_wait` for work; without any, the result is of kind kWait.
  virtual absl::StatusOr<Lease> AcquireLease(const WorkerIdentity& worker,
                                             absl::Duration max_wait) = 0;

  // Reports the outcome of a lease, and returns the next one, which may be of kind kWait.
  virtual absl::StatusOr<Lease> CompleteLease(const LeaseResult& result) = 0;

  // Restarts the deadline of a lease whose work makes progress, and returns the time until it.
  // Returns kFailedPrecondition if the lease is void: its work is done, or its generation over.
  virtual absl::StatusOr<absl::Duration> RenewLease(const Lease& lease,
                                                    const std::string& worker) = 0;

  // Requests a checkpoint as soon as possible, and returns the first step that it can be of.
  //   kFailedPrecondition  the job configures no checkpoints, or the training has ended
  virtual absl::StatusOr<int64_t> TakeCheckpoint() = 0;

  // Stops giving out leases; ends that, or abandons a drain; or ends the cluster with a checkpoint
  // of the step that is returned or a later one. coordinator.proto has their errors.
  virtual absl::Status Pause() = 0;
  virtual absl::Status Resume() = 0;
  virtual absl::StatusOr<int64_t> Drain() = 0;

  // Returns the progress, with the history from `from_step` on.
  virtual absl::StatusOr<Progress> GetProgress(int64_t from_step) = 0;

  // Makes the stub of MakeRetryingStub retry no longer, and ends its pauses. Other stubs ignore it.
  virtual void StopRetrying() {}

  // Makes the calls in progress, and all later ones, return kCancelled. A stub whose calls never
  // wait, as in tests, may ignore it.
  virtual void Cancel() {}
};

// Returns a stub that calls the coordinator at `address` over gRPC. Each call fails with
// kDeadlineExceeded after `deadline` (AcquireLease: after `deadline` + `max_wait`), and with
// kUnavailable at once if no server listens there; the message says if TLS is the reason.
// `credentials`: see MakeChannel in common/transport/channel.h.
std::unique_ptr<CoordinatorStub> MakeCoordinatorStub(
    const std::string& address, absl::Duration deadline,
    std::shared_ptr<const ClientCredentials> credentials = nullptr);

struct RetryPolicy {
  // Pauses double from the first to the longest; a random jitter shortens each by up to a half.
  absl::Duration first_pause = absl::Milliseconds(50);
  absl::Duration longest_pause = absl::Seconds(2);

  // A call returns kUnavailable once it has failed for this long.
  absl::Duration give_up_after = absl::Minutes(10);

  // Called after each failed attempt; the call returns kCancelled if it returns true. May be empty.
  std::function<bool()> stopped;
};

// Returns a stub that repeats the calls of `stub` while they fail with transient errors
// (common/base/transience.h): those that always are, and, once the coordinator has answered, those
// of another service that temporarily occupies its port. Logs the first failure of a call and its
// recovery, in one line each, whatever the number of attempts in between.
std::unique_ptr<CoordinatorStub> MakeRetryingStub(std::unique_ptr<CoordinatorStub> stub,
                                                  const std::string& address, RetryPolicy policy,
                                                  Logger log);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_COORDINATOR_STUB_H_
