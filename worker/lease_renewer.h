// SPDX-License-Identifier: Apache-2.0

// Keeps the lease of a slow worker alive for as long as its work makes progress. A process that
// hangs makes none, and so loses its lease.

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

// Thread-safe. A thread of its own asks for a renewal every third of a lease's deadline if there
// was progress since the last time. A failed renewal is not retried before the next one is due: the
// work continues, and its result counts even after the deadline.
class LeaseRenewer {
 public:
  LeaseRenewer(std::unique_ptr<CoordinatorStub> stub, std::string worker);
  ~LeaseRenewer();

  // Renews this lease from now on, until End().
  void Begin(const Lease& lease);
  void End();

  // Notes that the work has made progress.
  void Progress();

 private:
  void Run();

  const std::unique_ptr<CoordinatorStub> stub_;
  const std::string worker_;
  Pause pause_;  // self-synchronised: until a renewal is due

  absl::Mutex mutex_;
  std::optional<Lease> lease_ ABSL_GUARDED_BY(mutex_);
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;  // the lease: restart the wait
  bool progress_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_LEASE_RENEWER_H_
