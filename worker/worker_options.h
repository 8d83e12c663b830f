// SPDX-License-Identifier: Apache-2.0

// The settings of a worker.

#ifndef PERCENTDELTA_WORKER_WORKER_OPTIONS_H_
#define PERCENTDELTA_WORKER_WORKER_OPTIONS_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/trace.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"

namespace percentdelta {

class ClientCredentials;  // common/transport/credentials.h

struct WorkerOptions {
  std::string name;         // in logs, and to tell workers apart in the coordinator
  std::string coordinator;  // "host:port" of shard 0

  // Of this worker: see MakeChannel in common/transport/channel.h.
  std::shared_ptr<const ClientCredentials> credentials;

  // Returns the data that the job needs (data_sets.h). Called once, when the job is known, before
  // the first lease. `cancelled` returns true as soon as the worker is to stop. Not empty.
  std::function<absl::StatusOr<DataSets>(const Job& job, const std::function<bool()>& cancelled)>
      load_data;

  // Exchanges weights and gradients with servers on this machine through shared memory.
  bool shares_memory = true;

  int threads = 0;  // that compute gradients; 0: one per core
  std::string isa;  // see ModelOptions

  // How long the cluster, its coordinator or a shard that the leases need, may be unreachable
  // before the worker gives up. Without a lease it waits for as long as the coordinator answers.
  absl::Duration give_up_after = absl::Minutes(10);

  Logger log;                    // null: silent
  std::shared_ptr<Trace> trace;  // null: none
  FaultPoints faults;            // for tests: "pull" and "push"
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_WORKER_OPTIONS_H_
