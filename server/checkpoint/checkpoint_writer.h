// Writes a shard's parts of checkpoints beside the training, on a thread of its own. A part that
// cannot be written is reported as failed; that of the job's last step is then tried again, after a
// second and ever longer pauses, for there is no next one.

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
#include "common/fault_point.h"
#include "common/job.h"
#include "common/log.h"
#include "common/pause.h"
#include "server/checkpoint/checkpoint_plan.h"
#include "server/slice_content.h"

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

  // Gives up whatever is of another generation than `generation`.
  void Enter(uint64_t generation);

  // What the coordinator has not heard of yet. Forget() what it has.
  std::vector<CheckpointPart> parts() const;
  void Forget(size_t count);

 private:
  void Run();

  // Pauses and puts the content before the others, unless there is a new generation by now.
  void TryAgain(ShardContent content);
  CheckpointPart WritePart(const ShardContent& content) const;

  const Options options_;

  mutable absl::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<ShardContent> queue_ ABSL_GUARDED_BY(mutex_);
  std::deque<CheckpointPart> parts_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  Pause pause_;
  absl::Duration next_pause_;  // of the thread alone

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_WRITER_H_
