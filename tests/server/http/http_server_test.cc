// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "server/http/http_options.h"
#include "tests/server/http/http_client.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class HttpServerTest : public ::testing::Test {
 protected:
  ~HttpServerTest() override { end_.Notify(); }

  void Start(absl::Duration patience = absl::Seconds(10)) {
    HttpServer::Options options;
    options.listen = {"127.0.0.1", 0};
    options.max_streams = 2;
    options.request_threads = 2;
    options.patience = patience;
    options.handle = [this](const HttpRequest& request) { return Handle(request); };
    absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(std::move(options));
    ASSERT_OK(server);
    server_ = *std::move(server);
  }

  // Echoes; "/wait" is a stream that waits for the end, "/flood" one that never ends by itself.
  HttpResponse Handle(const HttpRequest& request) {
    HttpResponse response;
    response.body = absl::StrCat(request.method, " ", request.path, " ", request.query, " ",
                                 request.host, " ", request.body, "\n");
    if (request.path == "/wait") {
      response.next_part = [this]() -> std::optional<std::string> {
        end_.WaitForNotification();
        return std::nullopt;
      };
    } else if (request.path == "/flood") {
      response.next_part = [this]() -> std::optional<std::string> {
        if (end_.HasBeenNotified()) return std::nullopt;
        return std::string(1 << 20, 'x');
      };
    }
    return response;
  }

  absl::Notification end_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, Answers) {
  Start();
  const std::string answer = Get(server_->port(), "/a%20b?c=d");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("GET /a b c=d 127.0.0.1:"));
  EXPECT_THAT(answer, HasSubstr("\r\nX-Content-Type-Options: nosniff\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nCache-Control: no-store\r\n"));
}

TEST_F(HttpServerTest, TakesTheBodyOfASmallPostOnly) {
  Start(absl::Milliseconds(300));
  for (const int size : {3, 100000}) {
    HttpClient client(server_->port());
    client.Send(absl::StrCat("POST /login HTTP/1.1\r\nHost: h\r\nContent-Length: ", size,
                             "\r\n\r\n", size == 3 ? "a=b" : ""));
    EXPECT_THAT(client.ReadAll(),
                HasSubstr(size == 3 ? "POST /login  h a=b" : "POST /login  h \n"));
  }
}

TEST_F(HttpServerTest, NoPathReachesTheFileSystem) {
  Start();
  for (const char* path : {"/etc/passwd", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
                           "//etc/passwd", "/a.cgi", "/a.shtml", "/.htpasswd"}) {
    EXPECT_THAT(Get(server_->port(), path), Not(HasSubstr("root:"))) << path;
  }
  EXPECT_THAT(Get(server_->port(), "/a.cgi"), HasSubstr("GET /a.cgi"));  // the handler's answer
}

TEST_F(HttpServerTest, BadRequestsEndNothing) {
  Start(absl::Milliseconds(300));
  for (const std::string& bytes :
       {std::string("\0\1\2\r\n\r\n", 7), std::string("GET\r\n\r\n"),
        absl::StrCat("GET / HTTP/1.1\r\nA: ", std::string(100000, 'a'), "\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n")}) {
    HttpClient client(server_->port());
    client.Send(bytes);
    client.ReadAll();
  }
  EXPECT_THAT(Get(server_->port(), "/"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, StreamsAreLimited) {
  Start();
  const std::string wait = "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n";
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server_->port()));
    clients.back()->Send(wait);
    EXPECT_THAT(clients.back()->ReadUntil("GET /wait"), StartsWith("HTTP/1.1 200"));
  }
  const std::string refused = Get(server_->port(), "/wait");
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(refused, HasSubstr("Retry-After"));
  EXPECT_THAT(Get(server_->port(), "/"), StartsWith("HTTP/1.1 200"));  // others are answered
}

TEST_F(HttpServerTest, AClientThatDoesNotReadIsDropped) {
  Start(absl::Milliseconds(200));
  std::vector<std::unique_ptr<HttpClient>> sleepers;
  for (int i = 0; i < 2; ++i) {
    sleepers.push_back(std::make_unique<HttpClient>(server_->port()));
    sleepers.back()->Send("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n");
    sleepers.back()->ReadUntil("GET /flood");
  }
  // Both places are taken until the server gives up on them.
  const SteadyClock clock;
  const absl::Duration begin = clock.Now();
  std::string answer;
  while (clock.Now() - begin < absl::Seconds(20)) {
    HttpClient client(server_->port());
    client.Send("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n");
    answer = client.ReadUntil("\r\n");
    if (answer.find(" 200 ") != std::string::npos) break;
  }
  EXPECT_THAT(answer, HasSubstr(" 200 "));
}

TEST_F(HttpServerTest, AClientThatSendsNothingIsDropped) {
  Start(absl::Milliseconds(200));
  std::vector<std::unique_ptr<HttpClient>> silent;
  for (int i = 0; i < 4; ++i) {  // as many as there are threads
    silent.push_back(std::make_unique<HttpClient>(server_->port()));
    silent.back()->Send("GET / HT");
  }
  EXPECT_THAT(Get(server_->port(), "/"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, APortInUseIsNamed) {
  Start();
  HttpServer::Options options;
  options.listen = {"127.0.0.1", server_->port()};
  options.handle = [](const HttpRequest&) { return HttpResponse(); };
  EXPECT_THAT(HttpServer::Start(std::move(options)).status(),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr(absl::StrCat("127.0.0.1:", server_->port()))));
}

TEST(HttpOptionsTest, OtherMachinesNeedATokenFile) {
  EXPECT_OK(CheckHttp("127.0.0.1:0", ""));
  EXPECT_OK(CheckHttp("[::1]:80", ""));
  EXPECT_OK(CheckHttp("0.0.0.0:8080", "tokens"));
  for (const char* address : {"0.0.0.0:8080", "[::]:8080", "192.168.1.2:80", "name:80"}) {
    EXPECT_THAT(CheckHttp(address, ""),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("http_token_file")))
        << address;
  }
  EXPECT_THAT(CheckHttp("8080", ""),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("http")));
}

}  // namespace
}  // namespace percentdelta
