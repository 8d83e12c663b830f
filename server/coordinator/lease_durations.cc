// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/lease_durations.h"

#include <algorithm>

namespace percentdelta {
namespace {

constexpr absl::Duration kFirstDeadline = absl::Seconds(60);
constexpr absl::Duration kMinDeadline = absl::Seconds(2);
constexpr absl::Duration kMaxDeadline = absl::Minutes(10);
constexpr int kDeadlineFactor = 5;
constexpr int kSlowFactor = 2;
constexpr absl::Duration kFirstSlow = absl::Seconds(20);
constexpr absl::Duration kMinSlow = absl::Milliseconds(500);
constexpr size_t kMaxRemembered = 32;

}  // namespace

void LeaseDurations::Add(absl::Duration duration) {
  recent_.push_back(duration);
  if (recent_.size() > kMaxRemembered) recent_.pop_front();
}

std::optional<absl::Duration> LeaseDurations::Longest() const {
  if (recent_.empty()) return std::nullopt;
  return *std::max_element(recent_.begin(), recent_.end());
}

absl::Duration LeaseDurations::Deadline() const {
  const std::optional<absl::Duration> longest = Longest();
  if (!longest) return kFirstDeadline;
  return std::clamp(*longest * kDeadlineFactor, kMinDeadline, kMaxDeadline);
}

absl::Duration LeaseDurations::SlowAfter() const {
  const std::optional<absl::Duration> longest = Longest();
  if (!longest) return kFirstSlow;
  return std::max(*longest * kSlowFactor, kMinSlow);
}

}  // namespace percentdelta
