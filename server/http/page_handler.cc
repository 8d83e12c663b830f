// SPDX-License-Identifier: Apache-2.0

#include "server/http/page_handler.h"

#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/page/page_template.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kKeepAlive = absl::Seconds(10);

HttpResponse Plain(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

HttpResponse JsonResponse(std::string body) {
  HttpResponse response;
  response.content_type = "application/json";
  response.body = std::move(body);
  return response;
}

// The number of an id of this process ("EPOCH-NUMBER"); -1 for any other.
int64_t NumberOf(absl::string_view id, const std::string& epoch) {
  int64_t number = -1;
  if (!absl::ConsumePrefix(&id, epoch) || !absl::ConsumePrefix(&id, "-") ||
      !absl::SimpleAtoi(id, &number)) {
    return -1;
  }
  return number;
}

// The step that the query has under this name; -1 if it has none.
int64_t StepIn(const HttpRequest& request, const std::string& name) {
  int64_t step = -1;
  return absl::SimpleAtoi(QueryValue(request.query, name), &step) && step >= 0 ? step : -1;
}

}  // namespace

PageHandler::PageHandler(HttpAccess access, const LiveFeed& feed)
    : access_(std::move(access)), feed_(feed), policy_(PagePolicy()) {}

HttpResponse PageHandler::Handle(const HttpRequest& request) const {
  if (std::optional<HttpResponse> refusal = access_.Refuse(request)) {
    refusal->headers.emplace_back("Content-Security-Policy",
                                  "default-src 'none'; form-action 'self'; frame-ancestors 'none'");
    return *std::move(refusal);
  }
  if (HttpAccess::IsLogIn(request)) return access_.LogIn(request);
  if (request.path == "/") {
    HttpResponse page = Plain(200, std::string(PageTemplate()));
    page.content_type = "text/html; charset=utf-8";
    page.headers = {{"Content-Security-Policy", policy_}};
    return page;
  }
  if (request.path == "/api/state") return JsonResponse(*feed_.Snapshot());
  if (request.path == "/api/events") return Events(request);
  if (request.path == "/api/step") return Step(request);
  if (request.path == "/api/charts") return Charts(request);
  if (request.path == "/favicon.ico") return Plain(204, "");
  return Plain(404, "expected /, /api/state, /api/events, /api/step or /api/charts\n");
}

HttpResponse PageHandler::Step(const HttpRequest& request) const {
  const int64_t step = StepIn(request, "step");
  if (step < 0) return Plain(400, "step: expected a number of at least 0\n");
  return JsonResponse(feed_.Step(step));
}

HttpResponse PageHandler::Charts(const HttpRequest& request) const {
  const int64_t from = StepIn(request, "from");
  const int64_t to = StepIn(request, "to");
  if (from < 0 || to < from) {
    return Plain(400, "from, to: expected numbers of at least 0, the second not below the first\n");
  }
  return JsonResponse(feed_.Charts(from, to));
}

HttpResponse PageHandler::Events(const HttpRequest& request) const {
  const std::string after =
      request.last_event_id.empty() ? QueryValue(request.query, "after") : request.last_event_id;
  HttpResponse response;
  response.content_type = "text/event-stream";
  response.headers = {{"X-Accel-Buffering", "no"}};
  response.body = "retry: 2000\n\n";
  // Shared by the copies of the function.
  const auto last = std::make_shared<int64_t>(NumberOf(after, feed_.epoch()));
  response.next_part = [this, last]() -> std::optional<std::string> {
    if (*last == -2) return std::nullopt;
    if (*last == -1) {  // what the page has is of another process
      *last = -2;
      return "event: reload\ndata: {}\n\n";
    }
    const std::optional<LiveFeed::Message> message = feed_.Next(*last, kKeepAlive);
    if (!message) {
      if (feed_.closed()) return std::nullopt;
      return ": nothing new\n\n";
    }
    if (message->text == nullptr) {  // the page was too slow
      *last = -2;
      return "event: reload\ndata: {}\n\n";
    }
    *last = message->id;
    return absl::StrCat("id: ", feed_.epoch(), "-", message->id, "\ndata: ", *message->text,
                        "\n\n");
  };
  return response;
}

}  // namespace percentdelta
