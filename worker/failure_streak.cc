// SPDX-License-Identifier: Apache-2.0

#include "worker/failure_streak.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(20);
constexpr absl::Duration kLongestPause = absl::Seconds(2);

}  // namespace

absl::Duration FailureStreak::Extend() {
  const absl::Duration pause =
      std::min(kFirstPause * std::exp2(std::min(length_, 16)), kLongestPause);
  ++length_;
  std::minstd_rand random{std::random_device{}()};
  return pause * std::uniform_real_distribution<double>(0.5, 1)(random);
}

absl::Status FailureStreak::CheckReachable(const absl::Status& lease, bool at_fault) {
  if (lease.ok() || at_fault || absl::IsFailedPrecondition(lease)) {
    unreachable_since_.reset();
    return absl::OkStatus();
  }
  const absl::Duration now = clock_.Now();
  if (!unreachable_since_) unreachable_since_ = now;
  if (now - *unreachable_since_ <= give_up_after_) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("a part of the cluster has been out of reach for ",
                                             absl::FormatDuration(give_up_after_),
                                             "; the last error: ", lease.message()));
}

}  // namespace percentdelta
