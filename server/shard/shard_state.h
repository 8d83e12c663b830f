// SPDX-License-Identifier: Apache-2.0

// A shard in one generation of the cluster: its slices, and the path of a gradient through them
// (the essay is at the top of shard_state.cc). Free of gRPC.
//
// A new generation gets a new ShardState; work that is still in flight for the old one ends there
// and changes nothing else. That is the whole fence.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_STATE_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_STATE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/base/trace.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/shard/checkpoint_assembly.h"
#include "server/shard/delta_collector.h"
#include "server/shard/mapped_memory.h"
#include "server/shard/norm_reducer.h"
#include "server/shard/shard_slice.h"
#include "server/shard/shard_state_options.h"
#include "server/update/optimizer.h"

namespace percentdelta {

// Thread-safe.
class ShardState : public std::enable_shared_from_this<ShardState> {
 public:
  using Options = ShardStateOptions;

  explicit ShardState(Options options);

  const Job& job() const { return options_.job; }
  uint64_t generation() const { return options_.generation; }
  int shard() const { return options_.shard; }
  const Tracer& tracer() const { return options_.tracer; }
  ShardCounters& counters() const { return *options_.counters; }
  const std::vector<std::unique_ptr<ShardSlice>>& slices() const { return slices_; }

  // The memory of callers on this machine, who offer other memory to another generation.
  MappedMemory& memory() { return memory_; }

  // Returns this shard's slice of the tensor. kNotFound: no such tensor, or none of it here.
  absl::StatusOr<ShardSlice*> FindSlice(absl::string_view tensor) const;

  // Checks that the job has the slot and the step. kOutOfRange: it does not.
  absl::Status CheckSlot(int64_t step, int32_t slot) const;

  // Takes a slice's whole gradient (finite, of the slice's size), which the state modifies; the
  // last one of a step starts the update. Returns whether it was new. `for_checkpoint`: see
  // ShardSlice::Stage.
  absl::StatusOr<bool> Stage(ShardSlice& slice, int64_t step, int32_t slot, Buffer gradient,
                             bool for_checkpoint = false);

  // Delivers every slice at exactly `step` to the sink, each when it reaches it.
  //   kOutOfRange          a step before 0 or after the job's last
  //   kFailedPrecondition  the step is gone; some slices may have been delivered
  absl::Status Pull(int64_t step, const std::shared_ptr<PullSink>& sink);

  // For ReduceNorms calls of other shards: Reducer::Contribute, DeltaCollector::Contribute.
  // kFailedPrecondition also: the job's rule does not use such sums.
  void ReduceNorms(const BlockSums& sums, NormsCallback done);
  void ReduceDeltaNorms(const ProposedSums& sums, DeltaNormsCallback done);
  absl::Status Collect(const DeltaSums& sums);

  // The step of the slice that is furthest behind.
  int64_t step() const;

  // The number of steps, from the first one on, of which all gradients of every slice are here. For
  // a shard without slices, all steps.
  int64_t gathered_steps() const;

  // The slots of `step` that a slice of this shard lacks.
  std::vector<int32_t> MissingSlots(int64_t step) const;

  // Ends everything that waits, with the reason.
  void Close(const absl::Status& reason);

 private:
  struct SliceUpdate;  // one slice's step, while it is computed
  using SliceUpdatePtr = std::shared_ptr<SliceUpdate>;

  void ReportGathered();
  void AddGradients(ShardSlice& slice);
  SliceUpdatePtr StartUpdate(ShardSlice& slice, const ShardSlice::Run& last);
  void ComputeNorms(ShardSlice& slice, ShardSlice::Run run);
  void ReplaceValues(ShardSlice& slice, ShardSlice::Run run);
  template <typename Sum, typename Next>
  void Reduce(const SliceUpdatePtr& update, const SliceSums<Sum>& sums, Next next);
  void SendToHome(int home, const BlockSums& sums, NormsCallback done);
  void SendToHome(int home, const ProposedSums& sums, DeltaNormsCallback done);
  void Propose(const SliceUpdatePtr& update);
  void Apply(SliceUpdate& update);
  void ReportHistograms(const SliceUpdate& update);
  bool IsForCheckpoint(const SliceUpdate& update) const;
  void Publish(SliceUpdate& update, Buffer next, std::vector<Buffer> state);

  // The error of sums that the job's rule does not use.
  absl::Status UnusedSums(int tensor) const;

  // Reports from the tensor's home what the step did; `deltas` are the sums of |delta| of the
  // slice's blocks, for rules that sum it while it is applied.
  void Report(const SliceUpdate& update, std::vector<double> deltas);

  Options options_;  // constant after construction
  const Partition partition_;
  const std::unique_ptr<const Optimizer> optimizer_;
  std::vector<std::unique_ptr<ShardSlice>> slices_;  // the vector is constant

  // Self-synchronised, as the slices are.
  NormReducer norm_reducer_;
  std::unique_ptr<DeltaNormReducer> delta_norm_reducer_;  // null: the rule needs none
  std::unique_ptr<DeltaCollector> collector_;  // null: |delta| is not summed while it is applied
  CheckpointAssembly checkpoint_assembly_;
  MappedMemory memory_;

  absl::Mutex gathered_mutex_;
  int64_t reported_gathered_ ABSL_GUARDED_BY(gathered_mutex_);  // to the coordinator
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_STATE_H_
