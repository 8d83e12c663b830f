// What a shard holds in one generation of the cluster: its slices, and the way of a gradient
// through them (the essay is at the top of shard_state.cc). Free of gRPC.
//
// A new generation gets a new ShardState; what still runs for the old one ends there and changes
// nothing. That is the whole fence.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_STATE_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/base/fault_point.h"
#include "common/base/thread_pool.h"
#include "common/base/trace.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/checkpoint/checkpoint_writer.h"
#include "server/checkpoint/slice_content.h"
#include "server/shard/delta_collector.h"
#include "server/shard/mapped_memory.h"
#include "server/shard/norm_reducer.h"
#include "server/shard/shard_coordinator.h"
#include "server/shard/shard_peers.h"
#include "server/shard/shard_slice.h"
#include "server/update/optimizer.h"

namespace percentdelta {

// Thread-safe.
class ShardState : public std::enable_shared_from_this<ShardState> {
 public:
  struct Options {
    Job job;
    int shard = 0;
    int shards = 1;
    uint64_t generation = 0;

    // Computes the updates; outlives the state.
    ThreadPool* pool = nullptr;

    // The other shards of the generation. Needed with more than one shard.
    std::shared_ptr<ShardPeers> peers;

    // Gets the statistics and learns what has been gathered, under no lock of the state. Outlives
    // the state. Null: none, of tests.
    ShardCoordinator* coordinator = nullptr;

    // Takes what the shard is at each step that is to become a checkpoint. Outlives the state.
    // Null: the job has no checkpoints.
    CheckpointWriter* checkpoint_writer = nullptr;

    // Where the generation begins: this shard's slices at a step, in the partition's order. Without
    // slices: at step 0 with the job's initial weights.
    ShardContent begin;

    FaultPoints faults;
    Tracer tracer;
  };

  explicit ShardState(Options options);

  const Job& job() const { return options_.job; }
  uint64_t generation() const { return options_.generation; }
  int shard() const { return options_.shard; }
  const Tracer& tracer() const { return options_.tracer; }
  const std::vector<std::unique_ptr<ShardSlice>>& slices() const { return slices_; }

  // Of callers on this machine, who make other memory for another generation.
  MappedMemory& memory() { return memory_; }

  // This shard's slice of the tensor. kNotFound: no such tensor, or none of it here.
  absl::StatusOr<ShardSlice*> FindSlice(absl::string_view tensor) const;

  // Whether a push for the slot of the step can be taken at all. kOutOfRange: no such slot or
  // step in the job.
  absl::Status CheckSlot(int64_t step, int32_t slot) const;

  // Takes a slice's whole gradient (finite, of the slice's size), which is changed from here on;
  // the last one of a step starts the update. Returns whether it was new. `keep`: see
  // ShardSlice::Stage.
  absl::StatusOr<bool> Stage(ShardSlice& slice, int64_t step, int32_t slot, Buffer gradient,
                             bool keep = false);

  // Delivers every slice at exactly `step` to the sink, each as it gets there.
  //   kOutOfRange          a step before 0 or after the job's last
  //   kFailedPrecondition  the step is gone; some slices may have been delivered
  absl::Status Pull(int64_t step, const std::shared_ptr<PullSink>& sink);

  // For ReduceNorms calls of other shards.
  NormReducer& reducer() { return reducer_; }

  // The same, of deltas (DeltaCollector::Contribute). kFailedPrecondition also: the job's rule
  // scales the gradient, so that nobody has to tell.
  absl::Status Collect(const DeltaSums& sums);

  // The step of the slice that is furthest behind.
  int64_t step() const;

  // All gradients of the steps below this one are here, of every slice. A shard without slices has
  // those of all steps.
  int64_t gathered_steps() const;

  // The slots of `step` that a slice of this shard lacks.
  std::vector<int32_t> MissingSlots(int64_t step) const;

  // Ends everything that waits, with the reason.
  void Close(const absl::Status& reason);

 private:
  struct Update;  // one slice's step in the making

  void TellGathered();
  void AddGradients(ShardSlice& slice);
  void Reduce(ShardSlice& slice, ShardSlice::Run run);
  void Apply(Update& update);
  void Keep(const Update& update, const Buffer& next, std::vector<Buffer> state);

  // Says at the tensor's home what the step did; `deltas` are the sums of |delta| of the slice's
  // blocks, which count for rules that do not scale the gradient.
  void Report(const Update& update, std::vector<double> deltas);

  Options options_;  // constant after construction
  const Partition partition_;
  const std::unique_ptr<const Optimizer> optimizer_;
  std::vector<std::unique_ptr<ShardSlice>> slices_;  // the vector is constant; slices are self-
                                                     // synchronised
  NormReducer reducer_;                              // self-synchronised
  std::unique_ptr<DeltaCollector> collector_;        // self-synchronised; null: the rule scales
                                                     // the gradient
  MappedMemory memory_;                              // self-synchronised

  absl::Mutex gathered_mutex_;
  int64_t told_gathered_ ABSL_GUARDED_BY(gathered_mutex_);  // to the coordinator

  absl::Mutex kept_mutex_;
  std::map<int64_t, ShardContent> kept_ ABSL_GUARDED_BY(kept_mutex_);  // not all slices there yet
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_STATE_H_
