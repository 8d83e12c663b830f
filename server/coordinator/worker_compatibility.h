// SPDX-License-Identifier: Apache-2.0

// What all workers of a training must have in common, because otherwise the weights would depend on
// which worker computed a gradient. A state machine without locks, clocks or I/O.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_
#define PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_

#include <string>

#include "absl/status/status.h"
#include "common/cluster/lease.h"

namespace percentdelta {

// Not thread-safe.
class WorkerCompatibility {
 public:
  // Requires what the workers of a restored training had. An empty argument changes nothing.
  void Restore(const std::string& arithmetic, const std::string& data);

  // Checks a worker against the first ones that named their arithmetic and their data.
  //   kInvalidArgument     a name, arithmetic or fingerprint that is too long or not printable
  //   kFailedPrecondition  another arithmetic, or other data
  absl::Status Check(const WorkerIdentity& worker);

  const std::string& arithmetic() const { return arithmetic_; }  // empty: no worker yet
  const std::string& data() const { return data_; }  // fingerprint; empty: no worker named one

 private:
  std::string arithmetic_;
  std::string data_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_
