// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_access.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/base/address.h"
#include "server/rpc/role_table.h"

namespace percentdelta {
namespace {

constexpr absl::string_view kCookie = "pd_token=";
constexpr char kShownRpc[] = "/percentdelta.v1.Coordinator/GetProgress";

constexpr char kLogInPage[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>Live page of a training</h1>
<form method="post" action="/login"><p><label for="token">Token of the role viewer or operator
</label></p><p><input id="token" name="token" type="password" autocomplete="off" required>
<button>Show the training</button></p></form>
<p>It is in the file that <code>pdctl token</code> wrote; with Docker Compose,
<code>docker-compose run --rm certificates --print-token</code> prints it.</p></main></body></html>
)";

HttpResponse Refusal(int status, std::string message) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(message) + "\n";
  return response;
}

// The host without its port and without brackets.
std::string HostOf(absl::string_view authority) {
  if (absl::StartsWith(authority, "[")) {
    return std::string(authority.substr(1, authority.find(']') - 1));
  }
  return absl::AsciiStrToLower(authority.substr(0, authority.find(':')));
}

bool IsIpAddress(const std::string& host) {
  in6_addr ignored{};
  return inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

// The token that a request shows; empty: none.
std::string TokenOf(const HttpRequest& request) {
  if (absl::StartsWithIgnoreCase(request.authorization, "bearer ")) {
    return std::string(absl::StripAsciiWhitespace(request.authorization.substr(7)));
  }
  for (absl::string_view cookie : absl::StrSplit(request.cookie, ';')) {
    cookie = absl::StripAsciiWhitespace(cookie);
    if (absl::StartsWith(cookie, kCookie)) return std::string(cookie.substr(kCookie.size()));
  }
  return "";
}

// Whether the request comes from a page of this server, or from no page at all.
bool IsSameOrigin(const HttpRequest& request) {
  if (!request.origin.empty() && request.origin != absl::StrCat("http://", request.host) &&
      request.origin != absl::StrCat("https://", request.host)) {
    return false;
  }
  // Following a link from another site shows the page; that site cannot read it.
  if (request.path == "/") return true;
  return request.fetch_site.empty() || request.fetch_site == "same-origin" ||
         request.fetch_site == "none";
}

}  // namespace

bool HttpAccess::AcceptsHost(const std::string& host) const {
  return IsLoopback(host) || IsIpAddress(host) ||
         std::find(hosts_.begin(), hosts_.end(), host) != hosts_.end();
}

bool HttpAccess::AcceptsToken(const std::string& token) const {
  if (tokens_.empty()) return true;
  if (token.empty()) return false;
  const std::optional<Role> role = tokens_.Find(token);
  return role && MayCall(*role, kShownRpc);
}

std::optional<HttpResponse> HttpAccess::Refuse(const HttpRequest& request) const {
  if (request.host.empty()) return Refusal(400, "expected a Host header, got none");
  if (!AcceptsHost(HostOf(request.host))) {
    return Refusal(421,
                   "this server has another name: open it by its IP address, as localhost, or by "
                   "the name that it was started with");
  }
  if (!IsSameOrigin(request)) {
    return Refusal(403, "expected a request of this server's own page, got one of another site's");
  }
  if (IsLogIn(request)) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") {
    HttpResponse refusal = Refusal(405, "expected GET or HEAD: the page only looks");
    refusal.headers = {{"Allow", "GET, HEAD"}};
    return refusal;
  }
  if (AcceptsToken(TokenOf(request))) return std::nullopt;
  HttpResponse refusal = Refusal(401,
                                 "expected a token of the role viewer or operator that is in "
                                 "--http_token_file (pdctl token), got none or another one");
  refusal.headers = {{"WWW-Authenticate", "Bearer"}};
  if (request.path == "/") {
    refusal.content_type = "text/html; charset=utf-8";
    refusal.body = kLogInPage;
  }
  return refusal;
}

HttpResponse HttpAccess::LogIn(const HttpRequest& request) const {
  const std::string token = QueryValue(request.body, "token");
  const bool is_cookie_value = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isgraph(c) && c != ';' && c != ',' && c != '"' && c != '\\';
  });
  if (tokens_.empty() || !is_cookie_value || !AcceptsToken(token)) {
    HttpResponse refusal = Refusal(401, kLogInPage);
    refusal.content_type = "text/html; charset=utf-8";
    return refusal;
  }
  HttpResponse response = Refusal(303, "logged in");
  response.headers = {
      {"Location", "/"},
      {"Set-Cookie", absl::StrCat(kCookie, token, "; Path=/; HttpOnly; SameSite=Strict")}};
  return response;
}

}  // namespace percentdelta
