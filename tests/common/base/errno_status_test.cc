// SPDX-License-Identifier: Apache-2.0

#include "common/base/errno_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

TEST(ErrnoStatusTest, HasTheCodeAndTheText) {
  EXPECT_EQ(ErrnoMessage(EACCES), "Permission denied");
  EXPECT_THAT(ErrnoStatus(ENOENT, "file /a"),
              StatusIs(absl::StatusCode::kNotFound, "file /a: No such file or directory"));
  EXPECT_THAT(ErrnoStatus(EACCES, "open", "/a"),
              StatusIs(absl::StatusCode::kPermissionDenied, "cannot open /a: Permission denied"));
  EXPECT_THAT(
      ErrnoStatus(ENOSPC, "write", "/a"),
      StatusIs(absl::StatusCode::kResourceExhausted, "cannot write /a: No space left on device"));
}

}  // namespace
}  // namespace percentdelta
