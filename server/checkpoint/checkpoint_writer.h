// Writes a shard's parts of checkpoints beside the training, on a thread of its own, spread over
// half the time until it is decided whether there is a next one: no step is held up much. A part
// that cannot be written is reported as failed; that of the job's last step is then tried again,
// after a second and ever longer pauses, for there is no next one.
//
// The coordinator removes old checkpoints. A shard that does not see the coordinator's directory,
// but another one of that name, has what it writes refused by the coordinator; so that this does
// not grow, the writer removes this shard's own files of older steps that never became checkpoints.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_WRITER_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_WRITER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
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
    std::function<void()> written;
  };

  explicit CheckpointWriter(Options options);
  ~CheckpointWriter();  // Stop()

  // Ends after the file under way. What is to be written later is not.
  void Stop();

  // Writes the content when those before it are written. Returns at once.
  void Write(ShardContent content);

  // Gives up whatever is of another generation than `generation`, which begins at `step`. Logs if
  // the coordinator's cluster.json of this generation is not to be seen in the directory.
  void Enter(uint64_t generation, int64_t step);

  // What the coordinator has not heard of yet. Forget() what it has.
  std::vector<CheckpointPart> parts() const;
  void Forget(size_t count);

 private:
  struct Task {
    ShardContent content;
    Pace::Clock::time_point due;
  };

  void Run();

  // Pauses and puts the task before the others, unless there is a new generation by now.
  void TryAgain(Task task);
  CheckpointPart WritePart(const Task& task);
  absl::StatusOr<FileEntry> WriteFile(const Task& task);

  // Before the part of `step` is written: removes this shard's files of older steps without a
  // manifest, but for the step written last, which may still be under way; and what a dead process
  // left of this shard's file of `step`.
  void RemoveOldParts(const ShardContent& content);

  // Whether nobody waits for the content to be written.
  bool HasTime(const ShardContent& content) const;

  const Options options_;

  mutable absl::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);

  // Of the last Write() or Enter().
  Pace::Clock::time_point last_time_ ABSL_GUARDED_BY(mutex_);
  int64_t last_step_ ABSL_GUARDED_BY(mutex_) = 0;

  std::deque<CheckpointPart> parts_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  Pause pause_;

  // Of the thread alone.
  absl::Duration next_pause_;
  uint64_t written_generation_ = 0;
  int64_t written_step_ = -1;   // the newest of that generation
  int64_t previous_step_ = -1;  // the one before
  std::thread thread_;          // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_WRITER_H_
