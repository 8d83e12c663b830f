// SPDX-License-Identifier: Apache-2.0

#include "common/base/transience.h"

#include <gtest/gtest.h>

namespace percentdelta {
namespace {

TEST(TransienceTest, EveryCode) {
  const struct {
    absl::StatusCode code;
    bool transient, foreign, peer_retries;
  } rows[] = {
      {absl::StatusCode::kOk, false, false, false},
      {absl::StatusCode::kCancelled, true, false, true},
      {absl::StatusCode::kUnknown, false, true, true},
      {absl::StatusCode::kInvalidArgument, false, false, false},
      {absl::StatusCode::kDeadlineExceeded, true, false, true},
      {absl::StatusCode::kNotFound, false, false, false},
      {absl::StatusCode::kAlreadyExists, false, false, true},
      {absl::StatusCode::kPermissionDenied, false, false, true},
      {absl::StatusCode::kResourceExhausted, false, true, true},
      {absl::StatusCode::kFailedPrecondition, false, false, false},
      {absl::StatusCode::kAborted, false, false, true},
      {absl::StatusCode::kOutOfRange, false, false, true},
      {absl::StatusCode::kUnimplemented, false, true, true},
      {absl::StatusCode::kInternal, false, true, true},
      {absl::StatusCode::kUnavailable, true, false, true},
      {absl::StatusCode::kDataLoss, false, true, true},
      {absl::StatusCode::kUnauthenticated, false, true, true},
  };
  for (const auto& row : rows) {
    const absl::Status status(row.code, "");
    EXPECT_EQ(IsTransient(status), row.transient) << status;
    EXPECT_EQ(IsForeign(status), row.foreign) << status;
    EXPECT_EQ(ShouldRetryPeerCall(status), row.peer_retries) << status;
  }
}

}  // namespace
}  // namespace percentdelta
