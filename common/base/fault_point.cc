// SPDX-License-Identifier: Apache-2.0

#include "common/base/fault_point.h"

#include <signal.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace percentdelta {

absl::StatusOr<FaultPoints> FaultPoints::Parse(const std::string& text,
                                               const std::vector<std::string>& known) {
  FaultPoints points;
  if (text.empty()) return points;
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  int64_t count = 1;
  if (parts.size() > 3 ||
      (parts.size() > 1 && (!absl::SimpleAtoi(parts[1], &count) || count < 1)) ||
      (parts.size() == 3 && parts[2] != "stop")) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected POINT[:COUNT[:stop]] with a count of at least 1, got ", text));
  }
  if (std::find(known.begin(), known.end(), parts[0]) == known.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected one of ", absl::StrJoin(known, ", "), ", got ", parts[0]));
  }
  points.fault_ = std::make_shared<Fault>();
  points.fault_->point = parts[0];
  points.fault_->left = count;
  points.fault_->signal = parts.size() == 3 ? SIGSTOP : SIGKILL;
  return points;
}

void FaultPoints::PassArmed(absl::string_view point) const {
  if (point == fault_->point && fault_->left.fetch_sub(1) == 1) raise(fault_->signal);
}

}  // namespace percentdelta
