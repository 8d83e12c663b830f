// SPDX-License-Identifier: Apache-2.0

// The curves of a training as its page shows them: down-sampled, within a bounded number of bytes,
// however long the training and however many tensors.

#ifndef PERCENTDELTA_COMMON_PAGE_PAGE_CHARTS_H_
#define PERCENTDELTA_COMMON_PAGE_PAGE_CHARTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"
#include "common/page/min_max_rows.h"

namespace percentdelta {

// The tensors that have lines: those that are trained; matrices first if there are too many.
std::vector<int> ChartedTensors(const ModelSpec& model);

// Not thread-safe.
class PageCharts {
 public:
  explicit PageCharts(const Job& job);

  // Each by ascending step; earlier ones are dropped.
  void AddTraining(const ProgressPoint& point) { training_.Add(point); }
  void AddEvaluation(const ProgressPoint& point) { evaluations_.Add(point); }
  void AddUpdates(const StepStatistics& step);

  // The steps to be added next.
  int64_t next_training() const { return training_.rows.next_step(); }
  int64_t next_evaluation() const { return evaluations_.rows.next_step(); }
  int64_t next_updates() const { return updates_.next_step(); }

  // A generation starts at `step`: drops what is of that step or later. Some steps before it have
  // to be added again, as the functions above say.
  void Truncate(int64_t step);

  // A JSON object: "training" and "evaluations" have the columns loss, accuracy, seconds and the
  // metrics; "updates" has the relative change, that of plain SGD and the multiplier of each
  // charted tensor. Each is {"names", "width", "after", "rows"}: see MinMaxRows::Json.
  std::string Json() const;

  // The same with the rows that have changed since the last call; rows of "after" or later steps
  // replace those of before. Empty: nothing has changed.
  std::string TakeChanges();

 private:
  struct Curve {
    std::vector<std::string> metrics;
    MinMaxRows rows;

    void Add(const ProgressPoint& point);
    std::string Json(int64_t from) const;
  };

  std::string UpdatesJson(int64_t from) const;

  const std::vector<int> tensors_;  // with lines
  std::vector<int> places_;         // of a step's updates: index in tensors_, -1: no lines
  Curve training_;
  Curve evaluations_;
  MinMaxRows updates_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PAGE_PAGE_CHARTS_H_
