// Keeps the lease of a slow worker alive for as long as its work gets on. A process that hangs does
// not get on, and so loses its lease.

#ifndef PERCENTDELTA_WORKER_LEASE_RENEWER_H_
#define PERCENTDELTA_WORKER_LEASE_RENEWER_H_

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/coordinator_stub.h"
#include "common/base/pause.h"
#include "common/cluster/lease.h"

namespace percentdelta {

// Thread-safe. One thread of its own, which asks for a renewal every third of a lease's deadline if
// there was progress since the last time. A renewal that fails is tried no sooner than the next:
// the work goes on, and what it leads to counts even after the deadline.
class LeaseRenewer {
 public:
  LeaseRenewer(std::unique_ptr<CoordinatorStub> stub, std::string worker);
  ~LeaseRenewer();

  // The lease in hand from now on, until End().
  void Begin(const Lease& lease);
  void End();

  // The work has got on.
  void Progress();

 private:
  void Run();

  const std::unique_ptr<CoordinatorStub> stub_;
  const std::string worker_;
  Pause pause_;  // self-synchronised: until a renewal is due

  absl::Mutex mutex_;
  std::optional<Lease> lease_ ABSL_GUARDED_BY(mutex_);
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;  // the lease; the wait begins anew
  bool progress_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_LEASE_RENEWER_H_
