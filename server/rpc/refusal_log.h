// SPDX-License-Identifier: Apache-2.0

// One log line for each refused call, but not more lines than a log can bear.

#ifndef PERCENTDELTA_SERVER_RPC_REFUSAL_LOG_H_
#define PERCENTDELTA_SERVER_RPC_REFUSAL_LOG_H_

#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/log.h"

namespace percentdelta {

// Thread-safe. `clock` must outlive it.
class RefusalLog {
 public:
  static constexpr int kMaxLinesPerSecond = 10;

  RefusalLog(Logger log, const Clock& clock) : log_(std::move(log)), clock_(clock) {}

  // Writes who called what and why it was refused, escaped and cut. `caller` empty: unknown. Beyond
  // kMaxLinesPerSecond only counts; the next line reports the number.
  void Write(absl::string_view path, absl::string_view caller, const absl::Status& status);

 private:
  const Logger log_;
  const Clock& clock_;

  absl::Mutex mutex_;
  absl::Duration second_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();  // its begin
  int lines_ ABSL_GUARDED_BY(mutex_) = 0;                                      // in that second
  int64_t suppressed_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REFUSAL_LOG_H_
