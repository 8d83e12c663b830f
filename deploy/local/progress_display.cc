// SPDX-License-Identifier: Apache-2.0

#include "deploy/local/progress_display.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace percentdelta {
namespace {

constexpr int kBarWidth = 20;
constexpr absl::Duration kEvaluationInterval = absl::Seconds(2);

std::string Bar(const Progress& progress) {
  const double share =
      static_cast<double>(progress.step) / std::max<int64_t>(1, progress.max_steps);
  const auto filled = static_cast<int>(kBarWidth * std::clamp(share, 0.0, 1.0));
  return absl::StrCat("[", std::string(filled, '='), std::string(kBarWidth - filled, ' '), "] ");
}

}  // namespace

std::string ProgressLine(const Progress& progress) {
  std::string line = absl::StrCat("step ", progress.step, "/", progress.max_steps);
  if (progress.state != TrainingState::kTraining) {
    absl::StrAppend(&line, "  ", ToString(progress.state));
  }
  // The reason for a wait. That of a failure becomes the program's error message.
  if (!progress.message.empty() && progress.state != TrainingState::kFailed) {
    absl::StrAppend(&line, " (", progress.message, ")");
  }
  if (!progress.training.empty()) {
    absl::StrAppendFormat(&line, "  loss %.4f", progress.training.back().loss);
  }
  if (!progress.evaluations.empty()) {
    absl::StrAppendFormat(&line, "  test accuracy %.2f %%",
                          100 * progress.evaluations.back().accuracy);
  }
  if (progress.examples_per_second > 0) {
    absl::StrAppendFormat(&line, "  %.0f examples/s", progress.examples_per_second);
  }
  const absl::Duration left = absl::Ceil(TimeLeft(progress), absl::Seconds(1));
  if (left > absl::ZeroDuration()) {
    absl::StrAppend(&line, "  ", absl::FormatDuration(left), " left");
  }
  return line;
}

void ProgressDisplay::Update(const Progress& progress, absl::Time now) {
  latest_ = progress;
  shown_ = false;
  const int64_t evaluation = progress.evaluations.empty() ? -1 : progress.evaluations.back().step;
  const absl::Duration since = now - last_shown_;
  const bool due = width_ > 0 || since >= plain_interval_ ||
                   (evaluation != last_evaluation_ && since >= kEvaluationInterval);
  if (!due) return;
  last_shown_ = now;
  last_evaluation_ = evaluation;
  Show();
}

void ProgressDisplay::Finish() {
  if (!shown_) Show();
  if (width_ > 0) out_ << std::endl;
}

void ProgressDisplay::Show() {
  shown_ = true;
  if (width_ > 0) {
    // Return to the start of the line, and clear the rest of a longer one. Cut the line to the
    // terminal's width: one that wraps could not be rewritten.
    const std::string line = absl::StrCat(Bar(latest_), ProgressLine(latest_));
    out_ << '\r' << line.substr(0, width_ - 1) << "\x1b[K" << std::flush;
  } else {
    out_ << ProgressLine(latest_) << std::endl;
  }
}

}  // namespace percentdelta
