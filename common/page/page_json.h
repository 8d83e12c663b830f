// SPDX-License-Identifier: Apache-2.0

// What the page of a training is made of, as JSON: the same for a live page and for a report.

#ifndef PERCENTDELTA_COMMON_PAGE_PAGE_JSON_H_
#define PERCENTDELTA_COMMON_PAGE_PAGE_JSON_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/cluster/activity.h"
#include "common/cluster/progress.h"
#include "common/cluster/statistics.h"
#include "common/job/job.h"

namespace percentdelta {

// All of these are one line, and contain no "<": they may stand in a script element. Text that is
// not UTF-8 is mended; numbers that are not finite are null.

// The job: {"name", "rule", "batch", "slots", "max_steps", "text", "tensors": [{"name", "layer",
// "entries", "matrix", "line"}]}. Tensors are those that are trained, in the order of a step's
// statistics; "line": index among the charted ones (page_charts.h), or -1.
std::string JobJson(const Job& job);

// State, step, rates and counts.
std::string TrainingStatusJson(const Progress& progress);

// {"time", "shards": [...], "workers": [...], "workers_not_listed": n}: at `now`, of any clock; at
// most `max_workers` workers, those that need attention first.
std::string ActivityJson(const ClusterActivity& activity, int max_workers, absl::Duration now);

// One event; `wall` is when it happened, by the wall clock.
std::string EventJson(const ClusterEvent& event, absl::Time wall);

// A step's statistics, exact: {"step", "training": {...} or null, "evaluation": {...} or null,
// "updates": [{every field of TensorStatistics but step and layer}]}. Pointers may be null.
std::string StepJson(int64_t step, const StepStatistics* statistics, const ProgressPoint* training,
                     const ProgressPoint* evaluation);

// A string in JSON, with the properties above.
std::string QuoteJson(const std::string& text);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PAGE_PAGE_JSON_H_
