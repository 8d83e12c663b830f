// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/get_update_statistics.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/cluster/statistics_proto.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxBytes = 4 << 20;
constexpr int64_t kPageSteps = 64;
constexpr size_t kMaxFieldOverhead = 8;  // of an embedded message: its tag and its length

struct StepRange {
  int64_t first = 0;
  int64_t last = 0;  // inclusive
};

StepRange RequestedSteps(const StatisticsRing& ring,
                         const v1::GetUpdateStatisticsRequest& request) {
  if (request.last() > 0) return {ring.newest() + 1 - request.last(), ring.newest()};
  if (request.last_step() == 0) {
    return {request.first_step(), std::numeric_limits<int64_t>::max()};
  }
  return {request.first_step(), request.last_step()};
}

}  // namespace

absl::Status GetUpdateStatistics(const StatisticsRing& ring,
                                 const v1::GetUpdateStatisticsRequest& request,
                                 v1::GetUpdateStatisticsResponse& response) {
  RETURN_IF_ERROR(ring.CheckLayer(request.layer()));
  if (request.last() < 0 || request.first_step() < 0 || request.last_step() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("statistics: expected numbers of at least 0, got last ", request.last(),
                     ", steps ", request.first_step(), "..", request.last_step()));
  }
  const StepRange requested = RequestedSteps(ring, request);
  // Newest first, until the message is full. The caller asks for older steps with another call. In
  // pages: to copy the whole history under the ring's lock would delay those who add to it.
  std::vector<v1::StepStatistics> steps;
  size_t bytes = 0;
  const int64_t first = std::max(requested.first, ring.oldest());
  int64_t last = std::min(requested.last, ring.newest());
  for (bool full = false; !full && last >= first && last >= 0; last -= kPageSteps) {
    const std::vector<StepStatistics> page =
        ring.Range(std::max(first, last - kPageSteps + 1), last, request.layer());
    for (auto step = page.rbegin(); step != page.rend() && !full; ++step) {
      ToProto(*step, steps.emplace_back());
      bytes += steps.back().ByteSizeLong() + kMaxFieldOverhead;
      full = bytes > kMaxBytes && steps.size() > 1;
      if (full) steps.pop_back();
    }
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    *response.add_steps() = std::move(*step);
  }
  response.set_oldest_step(ring.oldest());
  return absl::OkStatus();
}

}  // namespace percentdelta
