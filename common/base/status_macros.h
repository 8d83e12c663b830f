// SPDX-License-Identifier: Apache-2.0

// Early returns of errors.

#ifndef PERCENTDELTA_COMMON_BASE_STATUS_MACROS_H_
#define PERCENTDELTA_COMMON_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Evaluates an expression of type absl::Status, and returns it from the function if it is an error.
#define RETURN_IF_ERROR(expression)                                                     \
  do {                                                                                  \
    if (absl::Status status_macros_status = (expression); !status_macros_status.ok()) { \
      return status_macros_status;                                                      \
    }                                                                                   \
  } while (false)

// Evaluates an expression of type absl::StatusOr<T>. Returns its status from the function if it is
// an error; otherwise moves the value to `target`, which may be a declaration. If its type contains
// a comma, name the type with `using`, or declare with auto.
#define ASSIGN_OR_RETURN(target, expression) \
  STATUS_MACROS_ASSIGN_(STATUS_MACROS_CONCAT_(status_macros_or_, __LINE__), target, expression)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses
#define STATUS_MACROS_ASSIGN_(status_or, target, expression) \
  auto status_or = (expression);                             \
  if (!status_or.ok()) return std::move(status_or).status(); \
  target = *std::move(status_or)
// NOLINTEND(bugprone-macro-parentheses)

#define STATUS_MACROS_CONCAT_(a, b) STATUS_MACROS_CONCAT_INNER_(a, b)
#define STATUS_MACROS_CONCAT_INNER_(a, b) a##b

#endif  // PERCENTDELTA_COMMON_BASE_STATUS_MACROS_H_
