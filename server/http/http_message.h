// SPDX-License-Identifier: Apache-2.0

// Requests and responses of the live page's server, independent of the library that speaks HTTP.

#ifndef PERCENTDELTA_SERVER_HTTP_HTTP_MESSAGE_H_
#define PERCENTDELTA_SERVER_HTTP_HTTP_MESSAGE_H_

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace percentdelta {

// Headers that a request does not have are empty.
struct HttpRequest {
  std::string method = "GET";
  std::string path = "/";  // decoded, without the query
  std::string query;       // "a=1&b=2", not decoded
  std::string host;
  std::string origin;
  std::string fetch_site;  // Sec-Fetch-Site
  std::string authorization;
  std::string cookie;
  std::string last_event_id;
  std::string body;  // of a POST
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};

  // If set, the response goes on with what this returns, until it returns nothing or the client is
  // gone. May block; must return nothing soon after LiveFeed::Close().
  std::function<std::optional<std::string>()> next_part = nullptr;
};

// The value of `name` in a query or a form, decoded; empty if there is none.
std::string QueryValue(const std::string& query, const std::string& name);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_HTTP_HTTP_MESSAGE_H_
