// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/flood_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Up to 100 bytes of one connection, 250 of all.
class FloodWatchTest : public testing::Test {
 protected:
  // What is disconnected when the connections' counters are these.
  std::vector<std::string> Tick(std::vector<ConnectionTraffic> traffic) {
    traffic_ = std::move(traffic);
    disconnected_.clear();
    watch_.Tick();
    return disconnected_;
  }

 private:
  std::vector<ConnectionTraffic> traffic_;
  std::vector<std::string> disconnected_;
  FloodWatch watch_{{100, 250, [this] { return traffic_; },
                     [this](const std::string& peer) { disconnected_.push_back(peer); },
                     MakeSilentLogger()}};
};

TEST_F(FloodWatchTest, ClosesWhatSendsWithoutAnAnswer) {
  EXPECT_THAT(Tick({{"a", 100, 0}, {"b", 5, 0}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 101, 0}, {"b", 5, 0}}), ElementsAre("a"));
  EXPECT_THAT(Tick({{"a", 500, 0}, {"b", 5, 0}}), IsEmpty());  // once: it is being closed
  EXPECT_THAT(Tick({{"b", 106, 0}}), ElementsAre("b"));
}

TEST_F(FloodWatchTest, AnAnswerBeginsANewCount) {
  EXPECT_THAT(Tick({{"a", 100, 0}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 5000, 1}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 5100, 1}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 5101, 1}}), ElementsAre("a"));
}

TEST_F(FloodWatchTest, OfTheTotalClosesTheWorst) {
  EXPECT_THAT(Tick({{"a", 90, 0}, {"b", 95, 0}, {"c", 60, 0}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 90, 0}, {"b", 100, 0}, {"c", 62, 0}}), ElementsAre("b"));
  EXPECT_THAT(Tick({{"a", 90, 0}, {"c", 62, 0}}), IsEmpty());
}

// What the server has not read takes none of its memory, however busy it is.
TEST_F(FloodWatchTest, UnreadBytesDoNotCount) {
  EXPECT_THAT(Tick({{"a", 5000, 0, 4900}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 5000, 0, 4899}}), ElementsAre("a"));
}

// An answer covers what had been read by then.
TEST_F(FloodWatchTest, BytesThatAreReadAfterAnAnswerCount) {
  EXPECT_THAT(Tick({{"a", 5000, 0, 5000}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 5000, 1, 4000}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 5000, 1, 3900}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 5000, 1, 3899}}), ElementsAre("a"));
}

TEST_F(FloodWatchTest, LooksAtManyConnectionsLessOften) {
  std::vector<ConnectionTraffic> many;
  for (size_t i = 0; i <= FloodWatch::kManyConnections; ++i) {
    many.push_back({absl::StrCat(i), 0, 0});
  }
  EXPECT_THAT(Tick(many), IsEmpty());
  many[7].received = 101;
  for (int i = 1; i < FloodWatch::kRareTicks; ++i) EXPECT_THAT(Tick(many), IsEmpty());
  EXPECT_THAT(Tick(many), ElementsAre("7"));
  // While one stands out, each time.
  many[8].received = 101;
  EXPECT_THAT(Tick(many), ElementsAre("8"));
}

TEST_F(FloodWatchTest, AnotherConnectionOfAnAddressIsNew) {
  EXPECT_THAT(Tick({{"a", 101, 0}}), ElementsAre("a"));
  EXPECT_THAT(Tick({{"a", 50, 0}}), IsEmpty());
  EXPECT_THAT(Tick({{"a", 101, 0}}), ElementsAre("a"));
}

}  // namespace
}  // namespace percentdelta
