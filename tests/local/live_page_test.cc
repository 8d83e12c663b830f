// SPDX-License-Identifier: Apache-2.0

// The live page of a whole cluster, as a browser asks for it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "client/cluster.h"
#include "common/base/clock.h"
#include "nlohmann/json.hpp"
#include "tests/local/small_cluster.h"
#include "tests/server/http/http_client.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

int PortOf(const std::string& url) { return std::atoi(url.substr(url.rfind(':') + 1).c_str()); }

json Ask(int port, const std::string& path) {
  const std::string answer = Get(port, path);
  return json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
}

// Asks until the state has `steps` steps in both tables.
json AwaitState(int port, size_t steps) {
  const SteadyClock clock;
  const absl::Duration begin = clock.Now();
  json state;
  while (clock.Now() - begin < absl::Seconds(30)) {
    state = Ask(port, "/api/state");
    if (state["charts"]["updates"]["rows"].size() == steps &&
        state["charts"]["training"]["rows"].size() == steps &&
        state["events"].dump().find("the training is finished") != std::string::npos) {
      break;
    }
  }
  return state;
}

TEST(LivePageTest, ShowsWhatClientsAreTold) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(6));
  options.shards = 2;
  options.workers = 2;
  options.http = "127.0.0.1:0";
  const absl::StatusOr<std::unique_ptr<LocalCluster>> cluster =
      LocalCluster::Start(std::move(options));
  ASSERT_OK(cluster);
  const int port = PortOf((*cluster)->page_url());
  EXPECT_THAT(Get(port, "/"), HasSubstr("Content-Security-Policy: default-src 'none'"));
  ASSERT_OK((*cluster)->AwaitWorkers());

  const json state = AwaitState(port, 6);
  Cluster::Options client;
  client.coordinator = (*cluster)->coordinator();
  const absl::StatusOr<Progress> progress = Cluster(client).GetProgress();
  ASSERT_OK(progress);
  const absl::StatusOr<std::vector<StepStatistics>> statistics =
      Cluster(client).GetUpdateStatistics({"", 6});
  ASSERT_OK(statistics);

  EXPECT_EQ(state["status"]["step"], 6);
  EXPECT_THAT(state["activity"]["shards"], SizeIs(2));
  EXPECT_THAT(state["charts"]["evaluations"]["rows"], SizeIs(progress->evaluations.size()));
  ASSERT_THAT(*statistics, SizeIs(6));
  const json step = Ask(port, "/api/step?step=3");
  EXPECT_EQ(step["training"]["loss"], progress->training[3].loss);
  const TensorStatistics& update = (*statistics)[3].updates[2];
  EXPECT_EQ(step["updates"][2]["tensor"], update.tensor);
  EXPECT_EQ(step["updates"][2]["relative_delta"], update.relative_delta);
  EXPECT_EQ(step["updates"][2]["gradient_l1"], update.gradient_l1);
  std::string events;
  for (const json& event : state["events"]) events += event["text"].get<std::string>() + "\n";
  EXPECT_THAT(events, HasSubstr("opened at step 0"));
  EXPECT_THAT(events, HasSubstr("worker 0 joined"));
  EXPECT_THAT(events, HasSubstr("the training is finished"));
}

TEST(LivePageTest, AnOpenStreamDoesNotHoldUpTheEnd) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(2));
  options.http = "127.0.0.1:0";
  absl::StatusOr<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(std::move(options));
  ASSERT_OK(cluster);
  const int port = PortOf((*cluster)->page_url());
  const std::string id = Ask(port, "/api/state")["id"];
  HttpClient stream(port);
  stream.Send("GET /api/events?after=" + id + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(stream.ReadUntil("data: {"), StartsWith("HTTP/1.1 200 OK\r\n"));
  const SteadyClock clock;
  const absl::Duration begin = clock.Now();
  cluster->reset();
  EXPECT_LT(clock.Now() - begin, absl::Seconds(10));
  stream.ReadAll();
}

}  // namespace
}  // namespace percentdelta
