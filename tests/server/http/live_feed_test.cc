// SPDX-License-Identifier: Apache-2.0

#include "server/http/live_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <thread>

#include "nlohmann/json.hpp"
#include "tests/server/http/fake_source.h"

namespace percentdelta {
namespace {

using nlohmann::json;
using ::testing::SizeIs;

class LiveFeedTest : public ::testing::Test {
 protected:
  // The message after `id`, which must be there.
  json MessageAfter(int64_t id) {
    const auto message = feed_.Next(id, absl::ZeroDuration());
    return message && message->text ? json::parse(*message->text) : json();
  }
  json Snapshot() { return json::parse(*feed_.Snapshot()); }

  const Job job_ = SmallPageJob();
  FakeSource source_;
  LiveFeed feed_{job_, source_, [] { return absl::FromUnixSeconds(1000); }};
};

TEST_F(LiveFeedTest, StepsBecomeMessagesAndASnapshot) {
  source_.progress.generation = 1;
  source_.AddStep(0, 2.5);
  source_.AddStatistics(job_, 0, 0.03);
  feed_.Tick();
  EXPECT_EQ(MessageAfter(0)["charts"]["training"]["rows"], json::parse("[[0,0,2.5,0.5,0]]"));
  EXPECT_EQ(MessageAfter(0)["charts"]["updates"]["rows"][0][2], 0.03);
  EXPECT_TRUE(MessageAfter(0)["activity"].is_object());

  source_.AddStep(1, 1.5);
  feed_.Tick();
  const json second = MessageAfter(1);
  EXPECT_EQ(second["charts"]["training"]["rows"], json::parse("[[1,1,1.5,0.5,0.5]]"));
  EXPECT_EQ(second["status"]["step"], 2);
  EXPECT_FALSE(second.contains("activity"));  // once a second
  EXPECT_FALSE(second["charts"].contains("updates"));
  EXPECT_THAT(Snapshot()["charts"]["training"]["rows"], SizeIs(2));
  EXPECT_EQ(Snapshot()["id"], feed_.epoch() + "-2");
  EXPECT_EQ(Snapshot()["job"]["name"], "small");
}

TEST_F(LiveFeedTest, NothingNewIsNoMessage) {
  feed_.Tick();
  EXPECT_FALSE(MessageAfter(0).is_null());
  feed_.Tick();
  EXPECT_TRUE(MessageAfter(1).is_null());
}

TEST_F(LiveFeedTest, ANewGenerationTakesStepsBack) {
  source_.progress.generation = 1;
  for (int64_t step = 0; step < 10; ++step) {
    source_.AddStep(step, 1);
    source_.AddStatistics(job_, step, 0.03);
  }
  feed_.Tick();
  source_.progress.generation = 2;
  source_.first = 6;
  source_.progress.training.resize(6);
  source_.statistics.erase(source_.statistics.find(6), source_.statistics.end());
  source_.AddStep(6, 9);
  feed_.Tick();
  const json change = MessageAfter(1)["charts"];
  EXPECT_EQ(change["training"]["after"], 6);
  EXPECT_EQ(change["training"]["rows"], json::parse("[[6,6,9,0.5,3]]"));
  EXPECT_EQ(change["updates"]["after"], 6);
  EXPECT_THAT(change["updates"]["rows"], SizeIs(0));
  EXPECT_THAT(Snapshot()["charts"]["training"]["rows"], SizeIs(7));
}

TEST_F(LiveFeedTest, AStepThatIsStillOnItsWayIsAwaited) {
  source_.progress.generation = 1;
  source_.AddStatistics(job_, 0, 1);
  source_.AddStatistics(job_, 2, 1);
  feed_.Tick();
  EXPECT_THAT(Snapshot()["charts"]["updates"]["rows"], SizeIs(1));
  source_.AddStatistics(job_, 1, 1);
  feed_.Tick();
  EXPECT_THAT(Snapshot()["charts"]["updates"]["rows"], SizeIs(3));
  // One that will not come holds up nothing.
  for (int64_t step = 4; step < 30; ++step) source_.AddStatistics(job_, step, 1);
  feed_.Tick();
  EXPECT_THAT(Snapshot()["charts"]["updates"]["rows"], SizeIs(29));
}

TEST_F(LiveFeedTest, EventsHaveTheTimeOfDay) {
  ClusterEvent event;
  event.id = 7;
  event.at = source_.now - absl::Seconds(10);
  event.text = "something";
  source_.events.push_back(event);
  feed_.Tick();
  EXPECT_EQ(MessageAfter(0)["events"][0]["time"], 990000);
  source_.now += absl::Seconds(1);
  feed_.Tick();
  EXPECT_FALSE(MessageAfter(1).contains("events"));
  EXPECT_THAT(Snapshot()["events"], SizeIs(1));
}

TEST_F(LiveFeedTest, APageThatIsTooSlowStartsAgain) {
  source_.progress.message = std::string(LiveFeed::kMaxMessageBytes / 3, 'x');
  for (int i = 0; i < 9; ++i) {
    source_.progress.message[0] = static_cast<char>('a' + i);
    feed_.Tick();
  }
  const auto behind = feed_.Next(0, absl::ZeroDuration());
  ASSERT_TRUE(behind);
  EXPECT_EQ(behind->text, nullptr);
  EXPECT_NE(feed_.Next(8, absl::ZeroDuration())->text, nullptr);
}

TEST_F(LiveFeedTest, WaitsForTheNextMessageOrTheEnd) {
  std::thread writer([this] { feed_.Tick(); });
  EXPECT_TRUE(feed_.Next(0, absl::Seconds(60)));
  writer.join();
  std::thread closer([this] { feed_.Close(); });
  EXPECT_FALSE(feed_.Next(1, absl::Seconds(60)));
  closer.join();
  EXPECT_TRUE(feed_.closed());
}

TEST_F(LiveFeedTest, APartOfALongTrainingHasEachOfItsSteps) {
  for (int64_t step = 0; step < 10000; ++step) {
    source_.AddStep(step, static_cast<double>(step));
    if (step >= 4990) source_.AddStatistics(job_, step, 1.0 / static_cast<double>(step));
  }
  feed_.Tick();
  EXPECT_EQ(Snapshot()["charts"]["training"]["width"], 16);
  const json charts = json::parse(feed_.Charts(4900, 5599));
  for (const char* name : {"training", "updates"}) EXPECT_EQ(charts[name]["width"], 1) << name;
  ASSERT_THAT(charts["training"]["rows"], SizeIs(700));
  EXPECT_EQ(charts["training"]["rows"][123], json::parse("[5023,5023,5023,0.5,2511.5]"));
  ASSERT_THAT(charts["updates"]["rows"], SizeIs(610));  // what is retained
  EXPECT_EQ(charts["updates"]["rows"][0][0], 4990);
  EXPECT_EQ(charts["updates"]["rows"][10][2], 2e-4);
  // Longer ones are down-sampled, too, and there is a limit to what is read.
  EXPECT_EQ(json::parse(feed_.Charts(0, 4999))["training"]["width"], 8);
  EXPECT_EQ(feed_.Charts(0, LiveFeed::kMaxValuesRead), "{}");
  EXPECT_EQ(feed_.Charts(0, std::numeric_limits<int64_t>::max()), "{}");
}

TEST_F(LiveFeedTest, AStepHasItsExactNumbers) {
  source_.AddStep(0, 0.1 + 0.2);
  source_.AddStatistics(job_, 0, 1.0 / 3);
  const json step = json::parse(feed_.Step(0));
  EXPECT_EQ(step["training"]["loss"], 0.1 + 0.2);
  EXPECT_EQ(step["updates"][0]["relative_delta"], 1.0 / 3);
  EXPECT_THAT(json::parse(feed_.Step(1))["updates"], SizeIs(0));
}

}  // namespace
}  // namespace percentdelta
