// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/refusal_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr int kRefusals = 3;

class RefusalWatchTest : public testing::Test {
 protected:
  // What is reported when these calls have been begun, an interval later.
  std::map<std::string, int> Tick(BegunCalls begun) {
    clock_.Advance(RefusalWatch::kInterval);
    std::map<std::string, int> reported;
    watch_.Tick(
        [&] {
          ++lists_;
          return begun;
        },
        [&](const std::string& connection, int refused) { reported[connection] += refused; });
    return reported;
  }

  void Refuse(int count) {
    for (int i = 0; i < count; ++i) watch_.Refused();
  }

  void Enter(const std::string& connection, int count) {
    for (int i = 0; i < count; ++i) watch_.Entered(connection);
  }

  FakeClock clock_;
  int lists_ = 0;
  RefusalWatch watch_{{kRefusals, &clock_}};
};

TEST_F(RefusalWatchTest, DoesNothingWhileFewCallsAreRefused) {
  for (int second = 0; second < 60; ++second) {
    if (second % 10 == 0) Refuse(kRefusals - 1);
    Enter("a", 1000);
    EXPECT_THAT(Tick({{"a", 1000 * second}}), IsEmpty());
  }
  EXPECT_EQ(lists_, 0);
}

TEST_F(RefusalWatchTest, FindsTheConnectionWhoseCallsDoNotReachAService) {
  Refuse(kRefusals);
  EXPECT_THAT(Tick({{"hostile", 1000}, {"worker", 5000}}), IsEmpty());  // the base
  Refuse(70);
  Enter("worker", 300);
  EXPECT_THAT(Tick({{"hostile", 1070}, {"worker", 5300}}), IsEmpty());
  Refuse(30);
  Enter("worker", 10);
  EXPECT_THAT(Tick({{"hostile", 1100}, {"worker", 5310}, {"new", 50}}),
              UnorderedElementsAre(Pair("hostile", 70)));
  EXPECT_THAT(Tick({{"hostile", 1100}, {"worker", 5310}, {"new", 50}}),
              UnorderedElementsAre(Pair("hostile", 30), Pair("new", 50)));
  EXPECT_THAT(Tick({{"hostile", 1100}, {"worker", 5310}, {"new", 50}}), IsEmpty());
}

// gRPC counts a call at its headers, a service when its request is there.
TEST_F(RefusalWatchTest, CallsOnTheirWayAreNotRefused) {
  Refuse(kRefusals);
  Tick({{"worker", 0}});
  for (int second = 1; second <= 9; ++second) {
    EXPECT_THAT(Tick({{"worker", 100 * second}}), IsEmpty());
    Enter("worker", 100);
  }
}

TEST_F(RefusalWatchTest, AConnectionOfBothKindsIsReported) {
  Refuse(kRefusals);
  Tick({{"both", 0}});
  int reported = 0;
  for (int second = 1; second <= 9; ++second) {
    Refuse(100);
    Enter("both", 10);
    for (const auto& [connection, refused] : Tick({{"both", 110 * second}})) reported += refused;
  }
  EXPECT_EQ(reported, 8 * 100 - 10);  // of the first 8 s, less what entered in the last
}

TEST_F(RefusalWatchTest, CallsOfHealthAndReflectionCountForAll) {
  Refuse(kRefusals);
  Tick({{"probe", 0}, {"hostile", 0}});
  for (int i = 0; i < 40; ++i) watch_.LetInElsewhere();
  Refuse(100);
  EXPECT_THAT(Tick({{"probe", 40}, {"hostile", 100}}), IsEmpty());
  EXPECT_THAT(Tick({{"probe", 40}, {"hostile", 100}}), UnorderedElementsAre(Pair("hostile", 60)));
}

TEST_F(RefusalWatchTest, AnotherConnectionOfAnAddressIsNew) {
  Refuse(kRefusals);
  Tick({{"a", 1000}});
  Tick({{"a", 7}});
  EXPECT_THAT(Tick({{"a", 7}}), UnorderedElementsAre(Pair("a", 7)));
}

TEST_F(RefusalWatchTest, EndsWhenNoMoreCallsAreRefused) {
  Refuse(kRefusals);
  Tick({{"a", 0}});
  EXPECT_EQ(lists_, 1);
  clock_.Advance(RefusalWatch::kWindow);
  Tick({{"a", 0}});
  EXPECT_EQ(lists_, 1);
}

TEST_F(RefusalWatchTest, EndsAfterAWindowOfFewRefusals) {
  Refuse(kRefusals);
  for (int window = 0; window < 3; ++window) {
    for (int second = 0; second < 10; ++second) Tick({{"a", 0}});
    Refuse(1);
  }
  EXPECT_GE(lists_, 9);
  EXPECT_LE(lists_, 20);  // of 30
}

}  // namespace
}  // namespace percentdelta
