// SPDX-License-Identifier: Apache-2.0

// Where the live page's data come from. The coordinator provides them (server/live_page.h); tests
// have their own.

#ifndef PERCENTDELTA_SERVER_HTTP_PAGE_SOURCE_H_
#define PERCENTDELTA_SERVER_HTTP_PAGE_SOURCE_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "common/cluster/activity.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"

namespace percentdelta {

// Thread-safe. No call may take long, or hold up the training.
class PageSource {
 public:
  virtual ~PageSource() = default;

  // The step at which the current generation started; 0 before the first one.
  virtual int64_t first_step() const = 0;

  // The state of the training, and its points from `from_step` on.
  virtual Progress GetProgress(int64_t from_step) const = 0;

  // The points of the steps from `first` to `last` only.
  virtual Progress PointsOf(int64_t first, int64_t last) const = 0;

  virtual ClusterActivity GetActivity() const = 0;
  virtual std::vector<ClusterEvent> EventsAfter(int64_t id) const = 0;

  // The time of events.
  virtual absl::Duration Now() const = 0;

  // The statistics of complete steps: of at most `count` steps from `first` on, by ascending step.
  // Steps that are no longer retained are left out.
  virtual std::vector<StepStatistics> Statistics(int64_t first, int64_t count) const = 0;

  // The newest complete step; -1: none.
  virtual int64_t newest_statistics() const = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_HTTP_PAGE_SOURCE_H_
