// SPDX-License-Identifier: Apache-2.0

// Checks of single fields of a job, for job_validation.cc and job_update_validation.cc.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_CHECKS_H_
#define PERCENTDELTA_COMMON_JOB_JOB_CHECKS_H_

#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/job/job.h"

namespace percentdelta {

// The range of numbers other than zero: in single precision, in which weights and state are stored,
// smaller numbers become zeros or denormals and larger ones become infinities.
inline constexpr double kMinMagnitude = 1e-37;
inline constexpr double kMaxMagnitude = 1e37;

// kInvalidArgument: names the field, the expectation and the actual value.
template <typename T>
absl::Status InvalidField(absl::string_view field, absl::string_view expected, const T& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("job: ", field, ": expected ", expected, ", got ", got));
}

// Returns the first error, or OK.
inline absl::Status FirstError(std::initializer_list<absl::Status> checks) {
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  return absl::OkStatus();
}

inline absl::Status CheckInteger(absl::string_view field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(min, "..", max), value);
}

// Check finite numbers: in kMinMagnitude..`max`; the same or 0; 0 or in [kMinMagnitude, 1).
inline absl::Status CheckPositive(absl::string_view field, double value,
                                  double max = kMaxMagnitude) {
  if (value >= kMinMagnitude && value <= max) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("a positive number in ", kMinMagnitude, "..", max),
                      value);
}
inline absl::Status CheckNotNegative(absl::string_view field, double value,
                                     double max = kMaxMagnitude) {
  if (value == 0 || (value >= kMinMagnitude && value <= max)) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("0 or a number in ", kMinMagnitude, "..", max), value);
}
inline absl::Status CheckBelowOne(absl::string_view field, double value) {
  if (value == 0 || (value >= kMinMagnitude && value < 1)) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("0 or a number in [", kMinMagnitude, ", 1)"), value);
}

// Validates optimizer, schedule, momentum, gradient_clipping and weight_decay.
absl::Status ValidateUpdate(const Job& job);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_CHECKS_H_
