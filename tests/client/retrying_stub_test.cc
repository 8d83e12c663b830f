// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/coordinator_stub.h"
#include "common/base/clock.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr absl::Duration kFirstPause = absl::Milliseconds(4);
constexpr absl::Duration kLongestPause = absl::Milliseconds(16);

// The results of the calls, in order, and the times at which the calls were made.
struct Script {
  std::deque<absl::Status> answers;  // then kOk
  std::vector<absl::Duration> calls;
};

class ScriptedStub : public CoordinatorStub {
 public:
  explicit ScriptedStub(Script& script) : script_(script) {}

  absl::StatusOr<ClusterInfo> GetJob() override { return Answer(ClusterInfo()); }
  absl::StatusOr<Lease> AcquireLease(const WorkerIdentity& /*worker*/,
                                     absl::Duration /*max_wait*/) override {
    return Answer(Lease());
  }
  absl::StatusOr<Lease> CompleteLease(const LeaseResult& /*result*/) override {
    return Answer(Lease());
  }
  absl::StatusOr<absl::Duration> RenewLease(const Lease& /*lease*/,
                                            const std::string& /*worker*/) override {
    return Answer(absl::Duration());
  }
  absl::StatusOr<int64_t> TakeCheckpoint() override { return Answer(int64_t{0}); }
  absl::Status Pause() override { return Answer(0).status(); }
  absl::Status Resume() override { return Answer(0).status(); }
  absl::StatusOr<int64_t> Drain() override { return Answer(int64_t{0}); }
  absl::StatusOr<Progress> GetProgress(int64_t /*from_step*/) override {
    return Answer(Progress());
  }

 private:
  template <typename T>
  absl::StatusOr<T> Answer(T answer) {
    script_.calls.push_back(SteadyClock().Now());
    if (script_.answers.empty()) return answer;
    const absl::Status status = script_.answers.front();
    script_.answers.pop_front();
    if (!status.ok()) return status;
    return answer;
  }

  Script& script_;
};

class RetryingStubTest : public testing::Test {
 protected:
  std::unique_ptr<CoordinatorStub> Make(RetryPolicy policy = {}) {
    policy.first_pause = kFirstPause;
    policy.longest_pause = kLongestPause;
    return MakeRetryingStub(std::make_unique<ScriptedStub>(script_), "host:1", std::move(policy),
                            MakeSilentLogger());
  }

  Script script_;
};

TEST_F(RetryingStubTest, PausesDoubleUpToTheLongest) {
  script_.answers.assign(5, absl::UnavailableError("no server"));
  EXPECT_OK(Make()->GetJob());
  ASSERT_THAT(script_.calls, SizeIs(6));
  absl::Duration pause = kFirstPause;
  for (size_t i = 1; i < script_.calls.size(); ++i) {
    EXPECT_GE(script_.calls[i] - script_.calls[i - 1], pause / 2) << i;  // jitter takes up to half
    pause = std::min(2 * pause, kLongestPause);
  }
}

TEST_F(RetryingStubTest, RetriesTransientErrors) {
  script_.answers = {absl::UnavailableError(""), absl::DeadlineExceededError(""),
                     absl::CancelledError("")};
  EXPECT_OK(Make()->CompleteLease({}));
  EXPECT_THAT(script_.calls, SizeIs(4));
}

TEST_F(RetryingStubTest, DoesNotRetryOtherErrors) {
  for (const absl::Status& refusal :
       {absl::FailedPreconditionError("generation"), absl::InvalidArgumentError("counts"),
        absl::NotFoundError("lease"), absl::DataLossError("answer")}) {
    script_ = {{refusal}, {}};
    EXPECT_EQ(Make()->RenewLease({}, "w").status(), refusal);
    EXPECT_THAT(script_.calls, SizeIs(1));
  }
}

// Another service temporarily occupies the coordinator's port.
TEST_F(RetryingStubTest, RetriesForeignErrorsOnceTheCoordinatorHasAnswered) {
  const std::vector<absl::Status> answers = {
      absl::UnimplementedError(""),   absl::InternalError(""),
      absl::DataLossError(""),        absl::UnknownError(""),
      absl::UnauthenticatedError(""), absl::ResourceExhaustedError("")};
  for (const absl::Status& answer : answers) {
    script_ = {{answer}, {}};
    EXPECT_THAT(Make()->GetJob(), Not(IsOk())) << answer;
    script_ = {{absl::OkStatus(), answer}, {}};
    const std::unique_ptr<CoordinatorStub> stub = Make();
    EXPECT_OK(stub->GetJob()) << answer;
    EXPECT_OK(stub->GetJob()) << answer;
    EXPECT_THAT(script_.calls, SizeIs(3)) << answer;
  }
}

TEST_F(RetryingStubTest, GivesUpInTheEnd) {
  script_.answers.assign(1000, absl::UnavailableError("no route"));
  RetryPolicy policy;
  policy.give_up_after = absl::Milliseconds(30);
  EXPECT_THAT(Make(policy)->AcquireLease({"w", "fma"}, {}),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("host:1"), HasSubstr("30ms"), HasSubstr("no route"))));
  EXPECT_GE(script_.calls.back() - script_.calls.front(), policy.give_up_after - kLongestPause);
}

TEST_F(RetryingStubTest, StopsOnRequest) {
  script_.answers.assign(1000, absl::UnavailableError("no server"));
  RetryPolicy policy;
  policy.stopped = [this] { return script_.calls.size() == 3; };
  EXPECT_THAT(Make(policy)->GetProgress(0), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(script_.calls, SizeIs(3));
}

TEST_F(RetryingStubTest, NamesAServerThatIsNotTheCoordinator) {
  script_.answers = {absl::UnimplementedError("")};
  EXPECT_THAT(Make()->GetJob(), StatusIs(absl::StatusCode::kUnimplemented,
                                         AllOf(HasSubstr("host:1"), HasSubstr("shard 0"))));
}

// Cancelled during a very long pause.
TEST_F(RetryingStubTest, CancelEndsAPauseAndLaterCalls) {
  script_.answers.assign(1000, absl::UnavailableError("no server"));
  RetryPolicy policy;
  policy.first_pause = absl::Hours(1);
  policy.longest_pause = absl::Hours(1);
  const auto stub = MakeRetryingStub(std::make_unique<ScriptedStub>(script_), "host:1", policy,
                                     MakeSilentLogger());
  std::thread cancel([&] { stub->Cancel(); });
  EXPECT_THAT(stub->GetJob(), StatusIs(absl::StatusCode::kCancelled));
  cancel.join();
  const size_t calls = script_.calls.size();
  EXPECT_THAT(stub->CompleteLease({}), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(script_.calls, SizeIs(calls));
}

}  // namespace
}  // namespace percentdelta
