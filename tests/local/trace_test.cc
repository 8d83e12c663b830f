// SPDX-License-Identifier: Apache-2.0

#include "common/base/trace.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "deploy/local/cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAreArray;

constexpr int64_t kSteps = 3;

nlohmann::json ReadTrace(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

// The timeline of a training on two shards and one worker.
class TraceTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = directory_.path() + "/trace.json";
    LocalCluster::Options options = SmallOptions(SmallMnistJob(kSteps));
    job_ = options.job;
    options.shards = 2;
    options.trace = *Trace::Open(path);
    const std::shared_ptr<Trace> trace = options.trace;
    ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
    ASSERT_OK(cluster->AwaitWorkers());
    ASSERT_OK(trace->Close());
    events_ = ReadTrace(path);
    for (const nlohmann::json& event : events_) {
      if (event["ph"] == "M") processes_[event["pid"]] = event["args"]["name"];
    }
  }

  // Returns the tensors that spans of this name have in a step, over all processes.
  std::set<std::string> TensorsOf(const std::string& name, int64_t step) const {
    std::set<std::string> tensors;
    for (const nlohmann::json& event : events_) {
      if (event["ph"] == "e" || event["name"] != name) continue;
      if (event["args"].value("step", -1) == step) {
        tensors.insert(event["args"].value("tensor", ""));
      }
    }
    return tensors;
  }

  const TemporaryDirectory directory_;
  Job job_;
  nlohmann::json events_;
  std::map<int64_t, std::string> processes_;
};

TEST_F(TraceTest, ShowsEveryPhaseOfEveryTensor) {
  std::vector<std::string> names;
  for (const auto& [pid, name] : processes_) names.push_back(name);
  EXPECT_THAT(names, UnorderedElementsAreArray({"shard 0", "shard 1", "worker 0"}));
  std::set<std::string> all;
  for (const TensorSpec& tensor : job_.model.tensors) all.insert(tensor.name);
  for (int64_t step = 0; step < kSteps; ++step) {
    for (const char* const span : {"await weights", "pull", "push", "send weights",
                                   "receive gradient", "phase 1", "phase 2"}) {
      EXPECT_EQ(TensorsOf(span, step), all) << span << " of step " << step;
    }
    EXPECT_EQ(TensorsOf("reduce norms", step), std::set<std::string>{"fc1/weights"});
    for (const char* const span : {"train", "forward conv1", "forward conv2", "forward fc1",
                                   "forward fc2", "await push", "complete lease"}) {
      EXPECT_EQ(TensorsOf(span, step).size(), 1U) << span << " of step " << step;
    }
  }
}

// As viewers assume.
TEST_F(TraceTest, SpansOfAThreadAreNested) {
  std::map<std::pair<int64_t, int64_t>, std::vector<std::pair<int64_t, int64_t>>> spans;
  for (const nlohmann::json& event : events_) {
    if (event["ph"] != "X") continue;
    const int64_t begin = event["ts"];
    const int64_t duration = event["dur"];
    EXPECT_GE(duration, 0);
    spans[{event["pid"], event["tid"]}].emplace_back(begin, -(begin + duration));
  }
  EXPECT_GE(spans.size(), 3U);
  for (auto& [thread, its_spans] : spans) {
    std::sort(its_spans.begin(), its_spans.end());  // at equal begins the longest first
    std::vector<int64_t> open;
    for (const auto& [begin, minus_end] : its_spans) {
      while (!open.empty() && open.back() <= begin) open.pop_back();
      const int64_t limit = open.empty() ? -minus_end : open.back();
      EXPECT_LE(-minus_end, limit) << "thread " << thread.second;
      open.push_back(-minus_end);
    }
  }
}

TEST_F(TraceTest, EverySpanThatBeginsEnds) {
  std::map<std::string, int64_t> begun;
  int64_t ended = 0;
  for (const nlohmann::json& event : events_) {
    if (event["ph"] == "b") begun[event["id"]] = event["ts"];
    if (event["ph"] != "e") continue;
    ++ended;
    ASSERT_TRUE(begun.count(event["id"]));
    EXPECT_GE(event["ts"], begun[event["id"]]);
  }
  EXPECT_EQ(static_cast<int64_t>(begun.size()), ended);
}

TEST(TraceFileTest, AnEmptyTraceIsValid) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/trace.json";
  ASSERT_OK((*Trace::Open(path))->Close());
  EXPECT_TRUE(ReadTrace(path).empty());
}

TEST(TraceFileTest, NamesAreQuoted) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/trace.json";
  const std::shared_ptr<Trace> trace = *Trace::Open(path);
  const Tracer tracer(trace, "a \"worker\" \\ \xff");
  { const TraceSpan span(tracer, "work", {.step = 7, .slot = 1, .tensor = "a\"b"}); }
  ASSERT_OK(trace->Close());
  const nlohmann::json events = ReadTrace(path);
  EXPECT_THAT(events[0]["args"]["name"], HasSubstr("a \"worker\" \\ "));
  EXPECT_EQ(events[1]["args"], nlohmann::json({{"step", 7}, {"slot", 1}, {"tensor", "a\"b"}}));
}

TEST(TraceFileTest, ErrorsNameTheFile) {
  EXPECT_THAT(std::string(Trace::Open("/nowhere/trace.json").status().message()),
              HasSubstr("/nowhere/trace.json"));
  ASSERT_OK_AND_ASSIGN(const auto full, Trace::Open("/dev/full"));
  const Tracer tracer(full, "worker");
  EXPECT_THAT(std::string(full->Close().message()), HasSubstr("/dev/full is incomplete"));
}

}  // namespace
}  // namespace percentdelta
