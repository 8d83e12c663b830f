// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::IdentifyResponse Response(int shard, const std::string& job_hash, uint64_t incarnation) {
  v1::IdentifyResponse response;
  response.set_shard(shard);
  response.set_job_hash(job_hash);
  response.set_incarnation(incarnation);
  return response;
}

TEST(IdentityTest, NamesTheProcessThatAnswers) {
  const struct {
    absl::Status status;
    v1::IdentifyResponse response;
    absl::StatusCode code;
    std::string says;
  } rows[] = {
      {absl::OkStatus(), Response(1, "job", 7), absl::StatusCode::kOk, ""},
      {absl::OkStatus(), Response(0, "job", 7), absl::StatusCode::kFailedPrecondition,
       "where shard 0 answers"},
      {absl::OkStatus(), Response(1, "job", 8), absl::StatusCode::kFailedPrecondition,
       "where another process of this shard answers"},
      {absl::OkStatus(), Response(1, "other", 7), absl::StatusCode::kFailedPrecondition,
       "where a server of another job answers"},
      {absl::OkStatus(),
       {},
       absl::StatusCode::kFailedPrecondition,
       "where a server of another job answers"},
      {absl::UnimplementedError("no\nsuch"),
       {},
       absl::StatusCode::kFailedPrecondition,
       "where something else (UNIMPLEMENTED no\\nsuch) answers"},
      {absl::InternalError(std::string(10000, 'x')),
       {},
       absl::StatusCode::kFailedPrecondition,
       "where something else (INTERNAL xxx"},
      {absl::UnavailableError("Connection refused"),
       {},
       absl::StatusCode::kUnavailable,
       "which cannot be reached from the coordinator: Connection refused"},
      {absl::DeadlineExceededError("x"), {}, absl::StatusCode::kUnavailable, "no answer in time"},
  };
  for (const auto& row : rows) {
    const absl::Status status =
        CheckIdentity({1, "job", 7}, "host:1", "the coordinator", row.status, row.response);
    if (row.code == absl::StatusCode::kOk) {
      EXPECT_OK(status);
      continue;
    }
    EXPECT_THAT(status, StatusIs(row.code, AllOf(HasSubstr("shard 1 advertises host:1, "),
                                                 HasSubstr(row.says), HasSubstr("--advertise"),
                                                 Not(HasSubstr("\n")))));
    EXPECT_LT(status.message().size(), 500U);
  }
}

TEST(IdentityTest, AcceptsAnyIncarnationIfNoneIsExpected) {
  EXPECT_OK(
      CheckIdentity({1, "job", 0}, "host:1", "shard 2", absl::OkStatus(), Response(1, "job", 7)));
}

}  // namespace
}  // namespace percentdelta
