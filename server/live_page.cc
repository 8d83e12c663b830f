// SPDX-License-Identifier: Apache-2.0

#include "server/live_page.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"
#include "common/base/ticker.h"
#include "server/http/http_options.h"
#include "server/http/http_server.h"
#include "server/http/live_feed.h"
#include "server/http/page_handler.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(250);

// The coordinator as the page sees it.
class CoordinatorSource : public PageSource {
 public:
  explicit CoordinatorSource(Coordinator& coordinator) : coordinator_(coordinator) {}

  int64_t first_step() const override { return coordinator_.view().step; }
  Progress GetProgress(int64_t from_step) const override {
    return coordinator_.GetProgress(from_step);
  }
  Progress PointsOf(int64_t first, int64_t last) const override {
    return coordinator_.GetProgress(first, last);
  }
  ClusterActivity GetActivity() const override { return coordinator_.GetActivity(); }
  std::vector<ClusterEvent> EventsAfter(int64_t id) const override {
    return coordinator_.EventsAfter(id);
  }
  absl::Duration Now() const override { return coordinator_.Now(); }
  std::vector<StepStatistics> Statistics(int64_t first, int64_t count) const override {
    const StatisticsRing& ring = coordinator_.statistics();
    first = std::max(first, ring.oldest());
    return ring.Range(first, first + count - 1, "");
  }
  int64_t newest_statistics() const override { return coordinator_.statistics().newest(); }

 private:
  Coordinator& coordinator_;
};

// The names of this machine, in lower case.
std::vector<std::string> NamesOf(const std::string& listen_host) {
  std::vector<std::string> names = {absl::AsciiStrToLower(listen_host)};
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) == 0) names.push_back(absl::AsciiStrToLower(name));
  return names;
}

}  // namespace

class LivePage::Impl {
 public:
  Impl(Coordinator& coordinator, HttpAccess access)
      : source_(coordinator),
        feed_(coordinator.job(), source_, [] { return absl::Now(); }),
        handler_(std::move(access), feed_) {}

  ~Impl() {
    ticker_.reset();
    feed_.Close();
    server_.reset();
  }

  absl::Status Listen(const HostPort& listen) {
    HttpServer::Options options;
    options.listen = listen;
    options.handle = [this](const HttpRequest& request) { return handler_.Handle(request); };
    feed_.Tick();  // the first page finds something
    ASSIGN_OR_RETURN(server_, HttpServer::Start(std::move(options)));
    const bool any = IsWildcard(listen.host);
    url_ =
        absl::StrCat("http://", ToString({any ? "127.0.0.1" : listen.host, server_->port()}), "/");
    ticker_.emplace(kTick, [this] { feed_.Tick(); });
    return absl::OkStatus();
  }

  const std::string& url() const { return url_; }

 private:
  CoordinatorSource source_;
  LiveFeed feed_;
  PageHandler handler_;
  std::unique_ptr<HttpServer> server_;
  std::string url_;
  std::optional<Ticker> ticker_;
};

absl::StatusOr<std::unique_ptr<LivePage>> LivePage::Start(const Options& options,
                                                          Coordinator& coordinator) {
  RETURN_IF_ERROR(CheckHttp(options.listen, options.token_file));
  ASSIGN_OR_RETURN(const HostPort listen, ParseHostPort("http", options.listen, 0));
  TokenTable tokens;
  if (!options.token_file.empty()) {
    absl::StatusOr<TokenTable> read = TokenTable::Read(options.token_file);
    if (!read.ok()) {
      return absl::Status(read.status().code(), absl::StrCat("http_", read.status().message()));
    }
    tokens = *std::move(read);
  }
  auto impl =
      std::make_unique<Impl>(coordinator, HttpAccess(NamesOf(listen.host), std::move(tokens)));
  RETURN_IF_ERROR(impl->Listen(listen));
  return std::unique_ptr<LivePage>(new LivePage(std::move(impl)));
}

LivePage::LivePage(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LivePage::~LivePage() = default;
const std::string& LivePage::url() const { return impl_->url(); }

}  // namespace percentdelta
