// SPDX-License-Identifier: Apache-2.0

#include "server/http/page_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/page/page_template.h"
#include "nlohmann/json.hpp"
#include "tests/server/http/fake_source.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

class PageHandlerTest : public ::testing::Test {
 protected:
  HttpResponse Get(const std::string& path, const std::string& query = "",
                   const std::string& last_event_id = "") {
    HttpRequest request;
    request.host = "127.0.0.1:1";
    request.path = path;
    request.query = query;
    request.last_event_id = last_event_id;
    return handler_.Handle(request);
  }
  std::string Id(int number) { return absl::StrCat(feed_.epoch(), "-", number); }

  const Job job_ = SmallPageJob();
  FakeSource source_;
  LiveFeed feed_{job_, source_, [] { return absl::UnixEpoch(); }};
  PageHandler handler_{HttpAccess({}, TokenTable()), feed_};
};

TEST_F(PageHandlerTest, ThePageComesWithItsPolicy) {
  const HttpResponse response = Get("/");
  EXPECT_EQ(response.body, PageTemplate());
  EXPECT_EQ(response.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(response.headers, ElementsAre(Pair("Content-Security-Policy", PagePolicy())));
}

TEST_F(PageHandlerTest, TheStateIsTheSnapshot) {
  feed_.Tick();
  EXPECT_EQ(Get("/api/state").body, *feed_.Snapshot());
}

TEST_F(PageHandlerTest, AStepIsANumber) {
  source_.AddStep(0, 2);
  EXPECT_EQ(nlohmann::json::parse(Get("/api/step", "step=0").body)["training"]["loss"], 2);
  for (const char* bad : {"", "step=", "step=-1", "step=x", "step=1e3"}) {
    EXPECT_EQ(Get("/api/step", bad).status, 400) << bad;
  }
}

TEST_F(PageHandlerTest, ChartsAreOfARangeOfSteps) {
  for (int64_t step = 0; step < 10; ++step) source_.AddStep(step, 2);
  feed_.Tick();
  EXPECT_EQ(nlohmann::json::parse(Get("/api/charts", "from=3&to=4").body)["training"]["rows"],
            nlohmann::json::parse("[[3,3,2,0.5,1.5],[4,4,2,0.5,2]]"));
  for (const char* bad : {"", "from=1", "to=1", "from=2&to=1", "from=-1&to=1", "from=x&to=1"}) {
    EXPECT_EQ(Get("/api/charts", bad).status, 400) << bad;
  }
}

TEST_F(PageHandlerTest, OtherPathsAreNotFound) {
  for (const char* path : {"/index.html", "/api", "/api/state/", "/..", ""}) {
    EXPECT_EQ(Get(path).status, 404) << path;
  }
}

TEST_F(PageHandlerTest, EventsFollowWhatThePageHas) {
  feed_.Tick();
  source_.AddStep(0, 2);
  feed_.Tick();
  const HttpResponse response = Get("/api/events", "after=" + Id(1));
  EXPECT_EQ(response.content_type, "text/event-stream");
  EXPECT_THAT(*response.next_part(), StartsWith(absl::StrCat("id: ", Id(2), "\ndata: {")));
  // A browser that connects again has seen more than its address says.
  const HttpResponse again = Get("/api/events", "after=" + Id(1), Id(2));
  source_.AddStep(1, 2);
  feed_.Tick();
  EXPECT_THAT(*again.next_part(), StartsWith(absl::StrCat("id: ", Id(3))));
  feed_.Close();
  EXPECT_EQ(again.next_part(), std::nullopt);
}

TEST_F(PageHandlerTest, APageOfAnotherProcessLoadsAgain) {
  feed_.Tick();
  for (const char* id : {"", "0123abcd-1", "x"}) {
    const HttpResponse response = Get("/api/events", absl::StrCat("after=", id));
    EXPECT_THAT(*response.next_part(), HasSubstr("event: reload"));
    EXPECT_EQ(response.next_part(), std::nullopt);
  }
}

TEST_F(PageHandlerTest, APageThatIsTooSlowLoadsAgain) {
  source_.progress.message = std::string(LiveFeed::kMaxMessageBytes / 2, 'x');
  for (int i = 0; i < 5; ++i) {
    source_.progress.message[0] = static_cast<char>('a' + i);
    feed_.Tick();
  }
  const HttpResponse response = Get("/api/events", "after=" + Id(1));
  EXPECT_THAT(*response.next_part(), HasSubstr("event: reload"));
  EXPECT_EQ(response.next_part(), std::nullopt);
}

TEST_F(PageHandlerTest, AStrangerGetsNothing) {
  HttpRequest request;
  request.host = "evil.example";
  request.path = "/api/state";
  EXPECT_EQ(handler_.Handle(request).status, 421);
}

}  // namespace
}  // namespace percentdelta
