// SPDX-License-Identifier: Apache-2.0

// What all workers of a training must have in common, because otherwise the weights would depend on
// which worker computed a gradient. A job may allow that (Job::any_arithmetic); then this remembers
// what the workers do not have in common. A state machine without locks, clocks or I/O.
//
// Any worker can claim any arithmetic and data. What a worker claims binds the others once
// the shards have a step of it (Deliver), and not before: a worker that computes nothing excludes
// no other. Until then, workers of every kind get work; if their gradients may be mixed in the
// first step, that step is done again, by workers of one kind.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_
#define PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_

#include <cstddef>
#include <string>
#include <utility>
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

  // A generation opens. Requires what the workers of a restored training had. If any arithmetic is
  // allowed, remembers theirs besides those that it knows already. An empty argument changes
  // nothing.
  void Restore(const std::string& arithmetic, const std::vector<std::string>& other_arithmetic,
               const std::string& data);

  // Checks a worker against those that delivered a step.
  //   kInvalidArgument     a name, arithmetic or fingerprint that is too long or not printable
  //   kFailedPrecondition  another arithmetic, unless any is allowed; or other data
  absl::Status Check(const WorkerIdentity& worker) const;

  // The worker, for which Check() is kOk, has been given work.
  void Give(const WorkerIdentity& worker);

  // The shards have a step of these workers' gradients, at least one. Returns whether all workers
  // that may have pushed some of it, those to which Give() refers, are of one kind. If not, the
  // step must be done again in a new generation; Check() accepts one kind only from now on.
  bool Deliver(const std::vector<WorkerIdentity>& workers);

  // Whether Deliver() has decided something since the last call: Check() may refuse more workers.
  bool TakeDecision() { return std::exchange(new_decision_, false); }

  // What the workers have in common. Until a step is delivered, what the first one said that was
  // given work. Empty: there is none, or it named none.
  const std::string& arithmetic() const;
  const std::string& data() const;  // fingerprint

  // The first kMaxOthers that differ from arithmetic(). Empty unless any arithmetic is allowed.
  const std::vector<std::string>& other_arithmetic() const { return other_arithmetic_; }

 private:
  absl::Status CheckArithmetic(const WorkerIdentity& worker) const;
  absl::Status CheckData(const WorkerIdentity& worker) const;
  void Remember(const std::string& arithmetic);
  bool GivenAlike() const;

  const bool any_arithmetic_;
  bool decided_ = false;  // a step was delivered, or restored
  bool new_decision_ = false;
  std::string arithmetic_;  // if decided or any is allowed
  std::vector<std::string> other_arithmetic_;
  std::string data_;                   // if decided
  std::vector<WorkerIdentity> given_;  // distinct kinds, without names; until decided
  bool too_many_given_ = false;        // for given_
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_WORKER_COMPATIBILITY_H_
