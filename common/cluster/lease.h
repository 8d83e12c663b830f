// SPDX-License-Identifier: Apache-2.0

// A lease: work assigned to a worker, either a slot of a step, or a range of the test set at the
// weights of a step.

#ifndef PERCENTDELTA_COMMON_CLUSTER_LEASE_H_
#define PERCENTDELTA_COMMON_CLUSTER_LEASE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/cluster/metrics.h"
#include "common/job/job.h"

namespace percentdelta {

struct Lease {
  enum class Kind {
    kWait,      // no work now; ask again
    kFinished,  // the training is finished; leave
    kFailed,    // the training failed for the reason in `message`; leave
    kTrain,     // compute and push the gradient of `batch`
    kEvaluate,  // evaluate `example_count` test examples from `first_example` on
    kDrained,   // the servers end and the training is not finished (see `message`); leave
  };
  Kind kind = Kind::kWait;
  uint64_t generation = 0;
  uint64_t id = 0;
  int64_t step = 0;  // pull the weights of exactly this step
  int32_t slot = 0;
  BatchId batch;
  int64_t first_example = 0;
  int64_t example_count = 0;
  bool checkpoint = false;  // to be repeated in the push
  absl::Duration deadline;  // from the time of assignment
  std::string message;
};

// How a worker introduces itself.
struct WorkerIdentity {
  std::string name;        // unique among workers
  std::string arithmetic;  // how it computes, as in "fma-2"
  std::string data = {};   // fingerprint of its data; empty: not given
};

// How values travel between a worker and the shards.
enum class Transport {
  kUnknown,
  kConnection,
  kSharedMemory,
  kBoth,  // shared memory with some shards, a connection with the others
};

// A worker's report on a lease.
struct LeaseResult {
  uint64_t generation = 0;
  uint64_t lease_id = 0;
  std::string worker;
  std::string failure;                 // not empty: the work could not be done, and why
  bool caused_by_environment = false;  // of the failure: not this work item
  bool leaving = false;                // the worker takes no further lease: the answer is kWait
  double loss_sum = 0;                 // with `failure`, not finite if that is the reason
  int64_t correct = 0;
  int64_t examples = 0;
  absl::Duration pull;
  absl::Duration compute;
  absl::Duration push;
  std::vector<MetricSum> metrics = {};
  Transport transport = Transport::kUnknown;  // for people
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_LEASE_H_
