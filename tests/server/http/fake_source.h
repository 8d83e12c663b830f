// SPDX-License-Identifier: Apache-2.0

// A training for tests of the live page: what the tests put into it.

#ifndef PERCENTDELTA_TESTS_SERVER_HTTP_FAKE_SOURCE_H_
#define PERCENTDELTA_TESTS_SERVER_HTTP_FAKE_SOURCE_H_

#include <map>
#include <vector>

#include "server/http/page_source.h"

namespace percentdelta {

// Used by one thread.
class FakeSource : public PageSource {
 public:
  int64_t first = 0;
  Progress progress;  // with all points
  ClusterActivity activity;
  std::vector<ClusterEvent> events;
  absl::Duration now = absl::Hours(1);
  std::map<int64_t, StepStatistics> statistics;

  int64_t first_step() const override { return first; }
  Progress GetProgress(int64_t from_step) const override {
    Progress result = progress;
    const auto is_before = [&](const ProgressPoint& point) { return point.step < from_step; };
    std::erase_if(result.training, is_before);
    std::erase_if(result.evaluations, is_before);
    return result;
  }
  Progress PointsOf(int64_t first_wanted, int64_t last) const override {
    Progress result = GetProgress(first_wanted);
    const auto is_after = [&](const ProgressPoint& point) { return point.step > last; };
    std::erase_if(result.training, is_after);
    std::erase_if(result.evaluations, is_after);
    return result;
  }
  ClusterActivity GetActivity() const override { return activity; }
  std::vector<ClusterEvent> EventsAfter(int64_t id) const override {
    std::vector<ClusterEvent> result;
    for (const ClusterEvent& event : events) {
      if (event.id > id) result.push_back(event);
    }
    return result;
  }
  absl::Duration Now() const override { return now; }
  std::vector<StepStatistics> Statistics(int64_t first_wanted, int64_t count) const override {
    std::vector<StepStatistics> result;
    for (auto it = statistics.lower_bound(first_wanted);
         it != statistics.end() && it->first < first_wanted + count; ++it) {
      result.push_back(it->second);
    }
    return result;
  }
  int64_t newest_statistics() const override {
    return statistics.empty() ? -1 : statistics.rbegin()->first;
  }

  // Adds a step: its point and, if `job` is given, its statistics.
  void AddStep(int64_t step, double loss) {
    progress.step = step + 1;
    progress.training.push_back({step, loss, 0.5, 0.5 * static_cast<double>(step)});
  }
  void AddStatistics(const Job& job, int64_t step, double relative) {
    StepStatistics& added = statistics[step];
    added = {step, {}};
    for (const TensorSpec& tensor : job.model.tensors) {
      TensorStatistics update;
      update.step = step;
      update.tensor = tensor.name;
      update.relative_delta = relative;
      added.updates.push_back(update);
    }
  }
};

inline Job SmallPageJob() {
  Job job;
  job.name = "small";
  job.max_steps = 100;
  TensorSpec tensor;
  tensor.name = "fc/weights";
  tensor.shape = {2, 3};
  job.model.tensors = {tensor};
  return job;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_HTTP_FAKE_SOURCE_H_
