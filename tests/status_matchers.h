// SPDX-License-Identifier: Apache-2.0

// Matchers for absl::Status and absl::StatusOr, like those of other projects that use Abseil.
//
//   EXPECT_THAT(Parse(text), IsOk());
//   EXPECT_THAT(Parse(text), IsOkAndHolds(3));
//   EXPECT_THAT(Parse(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2")));
//   ASSERT_OK_AND_ASSIGN(const Job job, Parse(text));

#ifndef PERCENTDELTA_TESTS_STATUS_MATCHERS_H_
#define PERCENTDELTA_TESTS_STATUS_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace percentdelta {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, negation ? "is an error" : "is OK") {
  *result_listener << "whose status is " << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

MATCHER_P(IsOkAndHolds, value,
          "is OK and holds a value that " +
              ::testing::DescribeMatcher<typename std::decay_t<arg_type>::value_type>(value,
                                                                                      negation)) {
  if (!arg.ok()) {
    *result_listener << "whose status is " << arg.status().ToString();
    return false;
  }
  return ::testing::ExplainMatchResult(value, *arg, result_listener);
}

MATCHER_P(StatusIs, code, "has the code " + absl::StatusCodeToString(code)) {
  *result_listener << "whose status is " << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code;
}

MATCHER_P2(StatusIs, code, message,
           "has the code " + absl::StatusCodeToString(code) + " and a message that " +
               ::testing::DescribeMatcher<std::string>(message, negation)) {
  *result_listener << "whose status is " << StatusOf(arg).ToString() << " ";
  return StatusOf(arg).code() == code &&
         ::testing::ExplainMatchResult(message, std::string(StatusOf(arg).message()),
                                       result_listener);
}

}  // namespace percentdelta

#define EXPECT_OK(expression) EXPECT_THAT(expression, ::percentdelta::IsOk())
#define ASSERT_OK(expression) ASSERT_THAT(expression, ::percentdelta::IsOk())

// Evaluates an expression of type absl::StatusOr<T>; fails the test if it is an error, otherwise
// moves the value to `target`, which may be a declaration.
#define ASSERT_OK_AND_ASSIGN(target, expression)                                          \
  STATUS_MATCHERS_ASSIGN_(STATUS_MATCHERS_CONCAT_(status_matchers_or_, __LINE__), target, \
                          expression)

// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses
#define STATUS_MATCHERS_ASSIGN_(status_or, target, expression) \
  auto status_or = (expression);                               \
  ASSERT_THAT(status_or, ::percentdelta::IsOk());              \
  target = *std::move(status_or)
// NOLINTEND(bugprone-macro-parentheses)

#define STATUS_MATCHERS_CONCAT_(a, b) STATUS_MATCHERS_CONCAT_INNER_(a, b)
#define STATUS_MATCHERS_CONCAT_INNER_(a, b) a##b

#endif  // PERCENTDELTA_TESTS_STATUS_MATCHERS_H_
