// SPDX-License-Identifier: Apache-2.0

// What all workers of a training must have in common, because otherwise the weights would depend on
// which worker computed a gradient. A job may allow that (Job::any_arithmetic); then this remembers
// what the workers do not have in common. A state machine without locks, clocks or I/O.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_
#define PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/cluster/lease.h"

namespace percentdelta {

// Maximum length of the text that names a worker's arithmetic, in bytes.
inline constexpr size_t kMaxArithmeticBytes = 256;

// Not thread-safe.
class WorkerCompatibility {
 public:
  // How many of the other workers' arithmetics are remembered.
  static constexpr size_t kMaxOthers = 16;

  explicit WorkerCompatibility(bool any_arithmetic = false) : any_arithmetic_(any_arithmetic) {}

  // Requires what the workers of a restored training had. If any arithmetic is allowed, remembers
  // theirs besides those that it knows already. An empty argument changes nothing.
  void Restore(const std::string& arithmetic, const std::vector<std::string>& other_arithmetic,
               const std::string& data);

  // Checks a worker against the first ones that named their arithmetic and their data.
  //   kInvalidArgument     a name, arithmetic or fingerprint that is too long or not printable
  //   kFailedPrecondition  another arithmetic, unless any is allowed; or other data
  absl::Status Check(const WorkerIdentity& worker);

  const std::string& arithmetic() const { return arithmetic_; }  // the first; empty: no worker yet
  const std::string& data() const { return data_; }  // fingerprint; empty: no worker named one

  // The first kMaxOthers that differ from arithmetic(). Empty unless any arithmetic is allowed.
  const std::vector<std::string>& other_arithmetic() const { return other_arithmetic_; }

 private:
  absl::Status CheckArithmetic(const WorkerIdentity& worker) const;
  void Remember(const std::string& arithmetic);

  const bool any_arithmetic_;
  std::string arithmetic_;
  std::vector<std::string> other_arithmetic_;
  std::string data_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_
