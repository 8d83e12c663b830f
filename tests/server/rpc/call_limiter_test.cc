// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/call_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CallLimiterTest : public testing::Test {
 protected:
  using Place = CallLimiter::Place;

  static Limits TestLimits() {
    Limits limits;
    for (CallLimit& limit : limits.calls) limit = {4, 3, 4};
    limits.queries_per_second = 10;
    limits.push_bytes = 100;
    limits.refusals = 5;
    return limits;
  }

  // A connection of a caller that has no other.
  static CallPeer Peer(const std::string& connection) {
    return {connection, absl::StrCat("caller ", connection)};
  }

  absl::StatusOr<Place> Admit(CallKind kind, const std::string& peer = "a") {
    CallLimiter::Callbacks callbacks;
    callbacks.end = [this](const absl::Status& status) { ended_.push_back(status); };
    callbacks.resume = [this, peer] { resumed_.push_back(peer); };
    return limiter_.Admit(kind, Peer(peer), std::move(callbacks));
  }

  // A place that the test keeps.
  Place& Take(CallKind kind, const std::string& peer = "a") {
    absl::StatusOr<Place> place = Admit(kind, peer);
    EXPECT_OK(place);
    return places_.emplace_back(std::move(place).value_or(Place()));
  }

  FakeClock clock_;
  std::vector<std::string> disconnected_;
  std::vector<absl::Status> ended_;
  std::vector<std::string> resumed_;
  CallLimiter limiter_{{TestLimits(), &clock_, MakeSilentLogger(),
                        [this](const std::string& peer) { disconnected_.push_back(peer); }}};
  std::deque<Place> places_;
};

TEST_F(CallLimiterTest, LimitsEachConnectionAndAllTogether) {
  for (int i = 0; i < 3; ++i) Take(CallKind::kWatch, "a");
  EXPECT_THAT(Admit(CallKind::kWatch, "a").status(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("watchers in flight on this connection: expected at most 3"),
                             HasSubstr("--limits=watchers_per_connection="))));
  Take(CallKind::kWatch, "b");
  EXPECT_THAT(Admit(CallKind::kWatch, "b").status(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("watchers in flight: expected at most 4"),
                             HasSubstr("--limits=watchers="))));
  Take(CallKind::kPull, "a");  // another kind has places of its own
  EXPECT_EQ(limiter_.count(CallKind::kWatch), 4);
  places_.pop_front();
  Take(CallKind::kWatch, "b");
  places_.clear();
  EXPECT_EQ(limiter_.count(CallKind::kWatch), 0);
  EXPECT_THAT(ended_, IsEmpty());
}

// A caller with many connections does not get all places.
TEST_F(CallLimiterTest, LimitsEachCallerOnAllItsConnections) {
  Limits limits = TestLimits();
  limits.of(CallKind::kPush) = {10, 2, 3};
  CallLimiter limiter({limits, &clock_, MakeSilentLogger(), nullptr});
  std::vector<Place> places;
  const auto take = [&](const CallPeer& peer) {
    absl::StatusOr<Place> place = limiter.Admit(CallKind::kPush, peer);
    if (place.ok()) places.push_back(*std::move(place));
    return place.status();
  };
  EXPECT_OK(take({"1", "spiffe://d/percentdelta/worker/greedy"}));
  EXPECT_OK(take({"1", "spiffe://d/percentdelta/worker/greedy"}));
  EXPECT_OK(take({"2", "spiffe://d/percentdelta/worker/greedy"}));
  EXPECT_THAT(take({"3", "spiffe://d/percentdelta/worker/greedy"}),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("pushes in flight of this caller: expected at most 3"),
                             HasSubstr("--limits=pushes_per_caller="))));
  EXPECT_OK(take({"4", "spiffe://d/percentdelta/worker/other"}));
  places.clear();
  EXPECT_OK(take({"3", "spiffe://d/percentdelta/worker/greedy"}));
}

TEST_F(CallLimiterTest, LimitsTheRateOfQueriesOfACaller) {
  Limits limits = TestLimits();
  limits.queries_per_second_per_caller = 15;
  CallLimiter limiter({limits, &clock_, MakeSilentLogger(), nullptr});
  const auto ask = [&](const std::string& connection, const std::string& caller) {
    return limiter.Admit(CallKind::kQuery, CallPeer{connection, caller}).status();
  };
  for (int i = 0; i < 30; ++i) EXPECT_OK(ask(absl::StrCat(i), "a"));
  EXPECT_THAT(ask("30", "a"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("queries of this caller"),
                             HasSubstr("--limits=queries_per_second_per_caller="))));
  EXPECT_OK(ask("31", "b"));
}

// One that connects again after each disconnection gets no new allowance.
TEST_F(CallLimiterTest, ConnectionsOfACallerThatIsRefusedAgainAndAgainAreClosedSooner) {
  Limits limits = TestLimits();
  limits.refusals = 20;
  std::vector<std::string> closed;
  CallLimiter limiter({limits, &clock_, MakeSilentLogger(),
                       [&](const std::string& connection) { closed.push_back(connection); }});
  for (int i = 0; i < 10; ++i) {
    for (int call = 0; call < 20; ++call) limiter.Refused({absl::StrCat(i), "a"});
  }
  EXPECT_THAT(closed, testing::SizeIs(10));
  limiter.Refused({"again", "a"});
  EXPECT_THAT(closed, testing::SizeIs(10));
  limiter.Refused({"again", "a"});
  EXPECT_EQ(closed.back(), "again");
  for (int call = 0; call < 19; ++call) limiter.Refused({"other", "b"});
  EXPECT_EQ(closed.back(), "again");
  clock_.Advance(CallLimiter::kRefusalWindow);
  for (int call = 0; call < 19; ++call) limiter.Refused({"later", "a"});
  EXPECT_EQ(closed.back(), "again");
}

TEST_F(CallLimiterTest, RefusalsThatCostMoreCountForMore) {
  limiter_.Refused(Peer("a"), 4);
  EXPECT_THAT(disconnected_, IsEmpty());
  limiter_.Refused(Peer("b"), 5);
  EXPECT_THAT(disconnected_, ElementsAre("b"));
}

TEST(CallPeerTest, AddressIsWithoutThePort) {
  EXPECT_EQ(AddressOf("ipv4:10.0.0.1:41234"), "ipv4:10.0.0.1");
  EXPECT_EQ(AddressOf("ipv6:%5B::1%5D:41234"), "ipv6:%5B::1%5D");
  EXPECT_EQ(AddressOf(""), "");
}

TEST_F(CallLimiterTest, AMovedPlaceIsGivenBackOnce) {
  Place& first = Take(CallKind::kPush);
  Place second = std::move(first);
  first.Release();
  EXPECT_EQ(limiter_.count(CallKind::kPush), 1);
  second.Release();
  second.Release();
  EXPECT_EQ(limiter_.count(CallKind::kPush), 0);
}

TEST_F(CallLimiterTest, EndsCallsOnWhichNothingMoves) {
  Place& waits = Take(CallKind::kPush);
  waits.Moved(/*busy=*/false);
  Place& moves = Take(CallKind::kPush);
  Take(CallKind::kPush);
  clock_.Advance(absl::Seconds(29));
  moves.Moved(/*busy=*/true);
  limiter_.Tick();
  EXPECT_THAT(ended_, IsEmpty());
  clock_.Advance(absl::Seconds(1));
  limiter_.Tick();
  limiter_.Tick();
  EXPECT_THAT(ended_, ElementsAre(StatusIs(absl::StatusCode::kDeadlineExceeded,
                                           HasSubstr("pushes: nothing has moved on this call"))));
  EXPECT_EQ(limiter_.count(CallKind::kPush), 2);
}

TEST_F(CallLimiterTest, ClosesTheConnectionOfAReaderThatStandsStill) {
  ASSERT_OK_AND_ASSIGN(Place place, limiter_.Admit(CallKind::kPull, Peer("reader")));
  clock_.Advance(absl::Seconds(30));
  limiter_.Tick();
  EXPECT_THAT(disconnected_, ElementsAre("reader"));
}

TEST_F(CallLimiterTest, ANewcomerGetsThePlaceOfTheCallThatStandsStill) {
  for (int i = 0; i < 4; ++i) {
    Take(CallKind::kPush, absl::StrCat("half open ", i));
    clock_.Advance(absl::Milliseconds(100));
  }
  EXPECT_THAT(Admit(CallKind::kPush, "worker").status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  clock_.Advance(CallLimiter::kEvictAfter - absl::Milliseconds(350));
  places_[0].Moved(/*busy=*/true);  // the others have stood still for less than it had
  EXPECT_THAT(Admit(CallKind::kPush, "worker").status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  clock_.Advance(absl::Milliseconds(100));
  Take(CallKind::kPush, "worker");
  EXPECT_THAT(ended_, ElementsAre(StatusIs(absl::StatusCode::kResourceExhausted,
                                           HasSubstr("others wait for its place"))));
  EXPECT_EQ(limiter_.count(CallKind::kPush), 4);
  places_[1].Release();  // the one that was evicted
  EXPECT_EQ(limiter_.count(CallKind::kPush), 4);
}

TEST_F(CallLimiterTest, LimitsTheRateOfQueries) {
  const auto ask = [&] { return limiter_.Admit(CallKind::kQuery, Peer("a")).status(); };
  for (int i = 0; i < 20; ++i) EXPECT_OK(ask());  // two seconds' worth at once
  EXPECT_THAT(ask(), StatusIs(absl::StatusCode::kResourceExhausted,
                              AllOf(HasSubstr("expected at most 10 a second"),
                                    HasSubstr("--limits=queries_per_second="))));
  EXPECT_OK(limiter_.Admit(CallKind::kQuery, Peer("b")));
  clock_.Advance(absl::Milliseconds(100));
  EXPECT_OK(ask());
  EXPECT_THAT(ask(), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(CallLimiterTest, ClosesTheConnectionThatIsRefusedAgainAndAgain) {
  for (int i = 0; i < 4; ++i) limiter_.Refused(Peer("a"));
  clock_.Advance(CallLimiter::kRefusalWindow);
  for (int i = 0; i < 4; ++i) limiter_.Refused(Peer("a"));
  limiter_.Refused(Peer("b"));
  EXPECT_THAT(disconnected_, IsEmpty());
  limiter_.Refused(Peer("a"));
  EXPECT_THAT(disconnected_, ElementsAre("a"));
  for (int i = 0; i < 20; ++i) limiter_.Refused(Peer("a"));  // while it is being closed
  EXPECT_THAT(disconnected_, ElementsAre("a"));
}

TEST_F(CallLimiterTest, PushesBeyondTheBudgetWait) {
  Place& first = Take(CallKind::kPush, "first");
  Place& second = Take(CallKind::kPush, "second");
  EXPECT_TRUE(first.Hold(60));
  EXPECT_TRUE(second.Hold(40));
  EXPECT_FALSE(second.Hold(50));
  EXPECT_TRUE(first.Hold(200));  // the oldest goes on in any case
  EXPECT_THAT(resumed_, IsEmpty());
  EXPECT_TRUE(first.Hold(0));
  EXPECT_THAT(resumed_, ElementsAre("second"));
  EXPECT_TRUE(second.Hold(100));
}

TEST_F(CallLimiterTest, TheEndOfAPushLetsTheNextOneGoOn) {
  Place& first = Take(CallKind::kPush, "first");
  Place& second = Take(CallKind::kPush, "second");
  EXPECT_TRUE(first.Hold(90));
  EXPECT_FALSE(second.Hold(90));
  clock_.Advance(absl::Seconds(25));  // longer than a push may hold what others wait for
  first.Moved(/*busy=*/true);
  limiter_.Tick();
  EXPECT_THAT(ended_, ElementsAre(StatusIs(absl::StatusCode::kDeadlineExceeded,
                                           HasSubstr("others wait for its bytes"))));
  EXPECT_THAT(resumed_, ElementsAre("second"));
  EXPECT_TRUE(second.Hold(95));
}

TEST_F(CallLimiterTest, ForgetsConnectionsThatAreGone) {
  for (int i = 0; i < 1000; ++i) limiter_.Refused(Peer(absl::StrCat("peer ", i)));
  clock_.Advance(CallLimiter::kRefusalWindow);
  limiter_.Tick();
  for (int i = 0; i < 4; ++i) limiter_.Refused(Peer("peer 1"));
  EXPECT_THAT(disconnected_, IsEmpty());
}

}  // namespace
}  // namespace percentdelta
