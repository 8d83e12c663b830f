// SPDX-License-Identifier: Apache-2.0

// Writes a shard's parts of checkpoints while the training runs, on a thread of its own. Spreads
// the work over half the time until it is decided whether the next checkpoint starts, so that no
// step is delayed much. A part that cannot be written is reported as failed; that of the job's last
// step is retried, first after a second and then at longer intervals, because there is no next one.
//
// The coordinator removes old checkpoints. A shard that sees another directory than the coordinator
// has its parts refused by the coordinator. To bound what it leaves there, the writer removes this
// shard's own files of older steps that never became checkpoints.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_WRITER_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_WRITER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/duration_histogram.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/pause.h"
#include "common/job/job.h"
#include "server/checkpoint/checkpoint_plan.h"
#include "server/checkpoint/pace.h"
#include "server/checkpoint/slice_content.h"

namespace percentdelta {

// Thread-safe.
class CheckpointWriter {
 public:
  struct Options {
    Job job;
    int shard = 0;
    int shards = 1;
    FaultPoints faults;
    Logger log;

    // Called, on the writer's thread, when there is a part to report.
    std::function<void()> on_part;
  };

  explicit CheckpointWriter(Options options);
  ~CheckpointWriter();  // Stop()

  // Finishes the file that is being written, drops the others, and ends the thread.
  void Stop();

  // Queues the content for writing. Does not block.
  void Write(ShardContent content);

  // Drops all content but that of `generation`, which starts at `step`. Logs a warning if the
  // directory does not show the coordinator's cluster.json of this generation.
  void Enter(uint64_t generation, int64_t step);

  // What was written since the process started, for metrics.
  struct Counters {
    DurationHistogram duration;  // of writing a part, pauses included
    std::atomic<int64_t> bytes{0};
    std::atomic<int64_t> failures{0};
  };
  const Counters& counters() const { return counters_; }

  // Parts that wait to be written.
  size_t queued() const;

  // The parts that have not been reported to the coordinator. Forget() drops the first `count`.
  std::vector<CheckpointPart> parts() const;
  void Forget(size_t count);

 private:
  struct Task {
    ShardContent content;
    Pace::Clock::time_point due;
  };

  void Run();

  // Pauses and puts the task before the others, unless there is a new generation by now.
  void Retry(Task task);
  CheckpointPart WritePart(const Task& task);
  absl::StatusOr<FileEntry> WriteFile(const Task& task);

  // Called before the content's part is written. Removes this shard's files of older steps that
  // have no manifest, except those of the step written last, whose checkpoint may still become
  // complete; and what a dead process left of this shard's file of the same step.
  void RemoveOldParts(const ShardContent& content);

  // Whether writing the content may take its time, because nothing waits for it.
  bool HasTime(const ShardContent& content) const;

  const Options options_;
  Counters counters_;

  mutable absl::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);

  // When, and of which step, the last Write() or Enter() was.
  Pace::Clock::time_point last_time_ ABSL_GUARDED_BY(mutex_);
  int64_t last_step_ ABSL_GUARDED_BY(mutex_) = 0;

  std::deque<CheckpointPart> parts_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  Pause pause_;

  // Used only on the thread.
  absl::Duration next_pause_;
  uint64_t written_generation_ = 0;
  int64_t written_step_ = -1;   // the newest of that generation
  int64_t previous_step_ = -1;  // the one before
  std::thread thread_;          // last member, because it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_WRITER_H_
