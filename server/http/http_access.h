// SPDX-License-Identifier: Apache-2.0

// Which requests the live page's server answers. Browsers send requests on behalf of any page that
// they show: a page of another site must not reach this one, neither by a request of its own (its
// Origin) nor by a name that it makes resolve to this machine's address (the Host).

#ifndef PERCENTDELTA_SERVER_HTTP_HTTP_ACCESS_H_
#define PERCENTDELTA_SERVER_HTTP_HTTP_ACCESS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/http/http_message.h"
#include "server/rpc/access_policy.h"

namespace percentdelta {

// Thread-safe, immutable.
class HttpAccess {
 public:
  // `hosts`: names that a request may have as its host, besides loopback names and literal IP
  // addresses, which no other site can own. `tokens`: those that are accepted, of roles that may
  // call GetProgress; empty: none is needed.
  HttpAccess(std::vector<std::string> hosts, TokenTable tokens)
      : hosts_(std::move(hosts)), tokens_(std::move(tokens)) {}

  // Returns the response to a request that must not be answered: 400 or 421 for its Host, 403 for
  // its Origin, 405 for its method, 401 without an accepted token. Nothing if it may be answered.
  std::optional<HttpResponse> Refuse(const HttpRequest& request) const;

  // Answers a request to log in: a POST of the form field "token". Sets a cookie if it is accepted.
  HttpResponse LogIn(const HttpRequest& request) const;

  // Whether the request is one for LogIn().
  static bool IsLogIn(const HttpRequest& request) {
    return request.method == "POST" && request.path == "/login";
  }

 private:
  bool AcceptsHost(const std::string& host) const;
  bool AcceptsToken(const std::string& token) const;

  const std::vector<std::string> hosts_;
  const TokenTable tokens_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_HTTP_HTTP_ACCESS_H_
