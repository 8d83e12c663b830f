// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/role.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

HttpAccess Open() { return HttpAccess({"trainer.example"}, TokenTable()); }

HttpAccess WithTokens() {
  const std::string text =
      absl::StrCat("viewer ", HashOfToken("look"), "\nworker ", HashOfToken("work"), "\n");
  return HttpAccess({}, *TokenTable::Parse("file", text));
}

// 0: it may be answered.
int StatusFor(const HttpAccess& access, const HttpRequest& request) {
  const std::optional<HttpResponse> refusal = access.Refuse(request);
  return refusal ? refusal->status : 0;
}

HttpRequest To(const std::string& host) {
  HttpRequest request;
  request.host = host;
  return request;
}

TEST(HttpAccessTest, OnlyNamesThatNoOtherSiteCanHaveAreHosts) {
  const std::pair<const char*, int> cases[] = {{"127.0.0.1:8080", 0},
                                               {"localhost:8080", 0},
                                               {"LOCALHOST", 0},
                                               {"[::1]:8080", 0},
                                               {"192.168.1.7:8080", 0},
                                               {"trainer.example:80", 0},
                                               {"", 400},
                                               {"evil.example", 421},
                                               {"127.0.0.1.evil.example:8080", 421},
                                               {"localhost.evil", 421}};
  for (const auto& [host, status] : cases) EXPECT_EQ(StatusFor(Open(), To(host)), status) << host;
}

TEST(HttpAccessTest, RequestsOfOtherSitesPagesAreRefused) {
  HttpRequest request = To("127.0.0.1:8080");
  request.path = "/api/state";
  request.origin = "http://127.0.0.1:8080";
  EXPECT_EQ(StatusFor(Open(), request), 0);
  for (const char* origin : {"http://evil.example", "null", "http://127.0.0.1:9090"}) {
    request.origin = origin;
    EXPECT_EQ(StatusFor(Open(), request), 403) << origin;
  }
  request.origin = "";
  request.fetch_site = "same-origin";
  EXPECT_EQ(StatusFor(Open(), request), 0);
  for (const char* site : {"cross-site", "same-site"}) {
    request.fetch_site = site;
    EXPECT_EQ(StatusFor(Open(), request), 403) << site;
  }
  request.path = "/";  // a link
  EXPECT_EQ(StatusFor(Open(), request), 0);
}

TEST(HttpAccessTest, ItOnlyLooks) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", ""}) {
    HttpRequest request = To("localhost");
    request.method = method;
    EXPECT_EQ(StatusFor(Open(), request), 405) << method;
  }
}

TEST(HttpAccessTest, ATokenOfTheRightRoleIsNeeded) {
  const HttpAccess access = WithTokens();
  HttpRequest request = To("10.0.0.1:8080");
  EXPECT_EQ(StatusFor(access, request), 401);
  for (const char* wrong : {"Bearer other", "Bearer ", "Basic bG9vaw==", "look", "Bearer work"}) {
    request.authorization = wrong;
    EXPECT_EQ(StatusFor(access, request), 401) << wrong;
  }
  request.authorization = "Bearer look";
  EXPECT_EQ(StatusFor(access, request), 0);
  request.authorization = "";
  request.cookie = "a=b; pd_token=look";
  EXPECT_EQ(StatusFor(access, request), 0);
  request.cookie = "pd_token=lookup";
  EXPECT_EQ(StatusFor(access, request), 401);
  // Not in the path: it would be in logs and histories.
  request.query = "token=look";
  EXPECT_EQ(StatusFor(access, request), 401);
}

TEST(HttpAccessTest, ABrowserLogsInWithAForm) {
  const HttpAccess access = WithTokens();
  HttpRequest request = To("localhost:1");
  EXPECT_THAT(access.Refuse(request)->body, HasSubstr("<form method=\"post\""));
  request.method = "POST";
  request.path = "/login";
  ASSERT_TRUE(HttpAccess::IsLogIn(request));
  EXPECT_EQ(StatusFor(access, request), 0);
  request.body = "token=other";
  EXPECT_EQ(access.LogIn(request).status, 401);
  request.body = "x=1&token=l%6Fok";
  const HttpResponse response = access.LogIn(request);
  EXPECT_EQ(response.status, 303);
  EXPECT_EQ(response.headers[1].second, "pd_token=look; Path=/; HttpOnly; SameSite=Strict");
  request.origin = "http://evil.example";
  EXPECT_EQ(StatusFor(access, request), 403);
}

TEST(HttpAccessTest, NoCookieWithoutTokens) {
  HttpRequest request = To("localhost");
  request.method = "POST";
  request.path = "/login";
  request.body = "token=a%0d%0aSet-Cookie:b";
  EXPECT_EQ(Open().LogIn(request).status, 401);
}

}  // namespace
}  // namespace percentdelta
