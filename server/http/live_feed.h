// SPDX-License-Identifier: Apache-2.0

// What the live pages see of a training. One thread asks for what is new a few times a second, in
// whatever number pages are open, and makes one message of it, which all pages share. A page reads
// at its own pace; one that falls too far behind starts again from a snapshot.

#ifndef PERCENTDELTA_SERVER_HTTP_LIVE_FEED_H_
#define PERCENTDELTA_SERVER_HTTP_LIVE_FEED_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/job/job.h"
#include "common/page/page_charts.h"
#include "server/http/page_source.h"

namespace percentdelta {

// Thread-safe; only one thread calls Tick().
class LiveFeed {
 public:
  // Of the messages that are retained for pages that are behind.
  static constexpr size_t kMaxMessageBytes = 8 << 20;

  // Steps, times tensors, that Charts() reads: in up to 0.2 s, for one page at a time.
  static constexpr int64_t kMaxValuesRead = 200000;

  // Workers that are listed.
  static constexpr int kMaxWorkers = 300;

  // Both must outlive the feed. `wall` returns the time of day.
  LiveFeed(const Job& job, const PageSource& source, std::function<absl::Time()> wall);

  // Asks for what is new, and makes it the next message. To be called a few times a second.
  void Tick();

  // Everything so far, as JSON: {"id", "job", "charts", "status", "activity", "events"}.
  std::shared_ptr<const std::string> Snapshot() const;

  // The charts of the steps from `first` to `last` alone, as those of a snapshot, but down-sampled
  // less: not at all if they are few. "{}" for more steps than kMaxValuesRead allows.
  std::string Charts(int64_t first, int64_t last) const;

  // A step's exact numbers (StepJson, page_json.h).
  std::string Step(int64_t step) const;

  // A message: its id, and JSON with those parts of a snapshot that have changed. Its charts and
  // events add to the ones before (PageCharts::TakeChanges).
  struct Message {
    int64_t id = 0;
    std::shared_ptr<const std::string> text;  // null: the messages after that id are gone
  };

  // The first message after `id`; waits for it for at most `timeout`. Nothing if none has come.
  std::optional<Message> Next(int64_t id, absl::Duration timeout) const;

  // Distinguishes the ids of this process from those of others.
  const std::string& epoch() const { return epoch_; }

  // Ends all waiting; later calls do not wait.
  void Close();
  bool closed() const;

 private:
  void TakePoints(const Progress& progress) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeStatistics();
  std::string TakeEvents() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Publish(std::string text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const PageSource& source_;
  const std::function<absl::Time()> wall_;
  const std::string epoch_;
  const Job& job_;
  const std::string job_json_;

  // Used by Tick() only.
  uint64_t generation_ = 0;
  absl::Duration activity_taken_ = -absl::InfiniteDuration();
  int64_t last_event_ = 0;

  mutable absl::Mutex reading_;  // held by Charts() while it reads; never with mutex_

  mutable absl::Mutex mutex_;
  PageCharts charts_ ABSL_GUARDED_BY(mutex_);
  std::string status_ ABSL_GUARDED_BY(mutex_) = "null";
  std::string activity_ ABSL_GUARDED_BY(mutex_) = "null";
  std::deque<std::string> events_ ABSL_GUARDED_BY(mutex_);  // JSON
  std::deque<Message> messages_ ABSL_GUARDED_BY(mutex_);
  size_t message_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;

  // The snapshot of `last_id_`, if a page has asked for it.
  mutable std::shared_ptr<const std::string> snapshot_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_HTTP_LIVE_FEED_H_
