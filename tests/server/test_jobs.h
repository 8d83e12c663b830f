// SPDX-License-Identifier: Apache-2.0

// What the server's tests share: a small job with every special size of tensor, gradients for it, a
// clock that tests advance, and shards connected without a network.

#ifndef PERCENTDELTA_TESTS_SERVER_TEST_JOBS_H_
#define PERCENTDELTA_TESTS_SERVER_TEST_JOBS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"
#include "server/shard/shard_slice.h"
#include "server/shard/shard_state.h"
#include "tests/server/reference.h"

namespace percentdelta {

// Three blocks and a bit, a few entries, one entry of the shape [], exactly one block, and a tensor
// of zeros. Two slots a step, PercentDelta with damped momentum and decay; no evaluation.
Job SmallJob();

// The same under LAMB with all its options, clipping, and no momentum.
Job SmallLambJob();

// Indices of their tensors.
enum SmallTensor : int { kLarge, kFew, kScalar, kBlock, kZeros };

// A gradient of all the model's tensors, uniform in [-1, 1); every seventh entry is zero, and in
// some steps a whole tensor is. A function of the arguments alone.
using Gradient = std::vector<std::vector<float>>;
Gradient RandomGradient(const ModelSpec& model, uint64_t seed, int64_t step, int32_t slot);

std::vector<double> AsDoubles(const std::vector<float>& values);

// The job's rule for tests/server/reference.h.
ReferenceRule ReferenceRuleOf(const Job& job);

// How far a tensor's float weights are from the reference's, relatively, over a whole training.
//
// An error is measured against the entry's size, but never against less than the tensor's largest
// mean magnitude so far: an entry is rounded relative to its magnitude at each step, so one that
// crosses zero keeps the absolute error of its earlier, larger magnitude.
class RelativeError {
 public:
  // Must be called after each step.
  void Compare(const std::vector<double>& expected, const std::vector<float>& got);

  double worst() const { return worst_; }

 private:
  double scale_ = 0;
  double worst_ = 0;
};

// Thread-safe.
class FakeClock : public Clock {
 public:
  absl::Duration Now() const override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  void Advance(absl::Duration by) {
    absl::MutexLock lock(&mutex_);
    now_ += by;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Duration now_ ABSL_GUARDED_BY(mutex_) = absl::Hours(1000);
};

// Records what it gets. Thread-safe.
class RecordingSink : public PullSink {
 public:
  void Deliver(Snapshot snapshot) override;
  void End(absl::Status reason) override;

  // Waits for `count` snapshots; fails the test if they have not come within a minute.
  std::vector<Snapshot> Await(size_t count);

  std::vector<Snapshot> snapshots() const;
  std::vector<absl::Status> ends() const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<Snapshot> snapshots_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::Status> ends_ ABSL_GUARDED_BY(mutex_);
};

// All shards of a generation in one process, on one pool of threads; block sums go from one to the
// other by a plain call. Thread-safe, but for Drain.
class ShardGroup {
 public:
  ShardGroup(const Job& job, int shards, int threads);
  ~ShardGroup();

  int shards() const { return static_cast<int>(states_.size()); }
  const std::shared_ptr<ShardState>& state(int shard) const { return states_[shard]; }

  // Stages the part of the gradient that belongs to one slice.
  absl::Status Push(int shard, ShardSlice& slice, int64_t step, int32_t slot,
                    const Gradient& gradient) const;

  // Stages one slot's gradient on all shards.
  absl::Status Push(int64_t step, int32_t slot, const Gradient& gradient) const;

  // All tensors at exactly `step`; waits for them.
  Gradient Weights(int64_t step) const;

  // Ends the generation and waits for the tasks of the pool. Nothing may be pushed afterwards.
  void Drain();

  // What the homes have reported so far, in the order of reporting. Reports follow publication:
  // only after Drain are all of them in.
  std::vector<TensorStatistics> reports() const;

  // The histograms of slices, of every second step, likewise.
  std::vector<SliceHistograms> histograms() const;

 private:
  class Network;  // between the shards, and to a coordinator

  const Job job_;
  std::vector<std::shared_ptr<ShardState>> states_;
  const std::shared_ptr<Network> network_;
  std::unique_ptr<ThreadPool> pool_;  // destroyed first, while its tasks' states live
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_TEST_JOBS_H_
