// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/refusal_log.h"

#include <cstddef>

#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxShownBytes = 200;

}  // namespace

void RefusalLog::Write(absl::string_view path, absl::string_view caller,
                       const absl::Status& status) {
  int64_t suppressed = 0;
  {
    const absl::Duration now = clock_.Now();
    absl::MutexLock lock(&mutex_);
    if (now - second_ >= absl::Seconds(1)) {
      second_ = now;
      lines_ = 0;
    }
    if (lines_ == kMaxLinesPerSecond) {
      ++suppressed_;
      return;
    }
    ++lines_;
    suppressed = std::exchange(suppressed_, 0);
  }
  log_->warn("refused code={} rpc={} caller=\"{}\" reason=\"{}\" suppressed={}",
             absl::StatusCodeToString(status.code()), EscapeForLog(path, kMaxShownBytes),
             caller.empty() ? "unknown" : EscapeForLog(caller, kMaxShownBytes),
             EscapeForLog(status.message(), kMaxShownBytes), suppressed);
}

}  // namespace percentdelta
