// SPDX-License-Identifier: Apache-2.0

// Shows a training's progress: one line rewritten in place on a terminal, plain lines elsewhere.

#ifndef PERCENTDELTA_DEPLOY_LOCAL_PROGRESS_DISPLAY_H_
#define PERCENTDELTA_DEPLOY_LOCAL_PROGRESS_DISPLAY_H_

#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "common/cluster/progress.h"

namespace percentdelta {

// Returns "step 40/200  loss 0.312  test accuracy 92.61 %  1520 examples/s  1m20s left", without
// what is not known yet.
std::string ProgressLine(const Progress& progress);

// Not thread-safe.
class ProgressDisplay {
 public:
  // `width` is the terminal's, in columns; 0 means that `out` is not a terminal. Then Update prints
  // a line at most every `plain_interval`, and one for each new evaluation, at most every two
  // seconds.
  ProgressDisplay(std::ostream& out, int width, absl::Duration plain_interval)
      : out_(out), width_(width), plain_interval_(plain_interval) {}

  void Update(const Progress& progress, absl::Time now);

  // Shows the last update, unless it has been shown, and ends the line.
  void Finish();

 private:
  void Show();

  std::ostream& out_;
  const int width_;
  const absl::Duration plain_interval_;
  Progress latest_;
  bool shown_ = true;
  absl::Time last_shown_ = absl::InfinitePast();
  int64_t last_evaluation_ = -1;  // step
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_DEPLOY_LOCAL_PROGRESS_DISPLAY_H_
