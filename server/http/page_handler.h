// SPDX-License-Identifier: Apache-2.0

// The paths of the live page's server:
//   GET /            the page (common/page/page_template.h)
//   GET /api/state   everything so far (LiveFeed::Snapshot)
//   GET /api/events  what changes, as server-sent events; ?after=ID, or Last-Event-ID, says what
//   the
//                    page has. Event "reload": ask for the state again
//   GET /api/step    ?step=N: a step's exact numbers
//   GET /api/charts  ?from=N&to=N: the charts of these steps, down-sampled less (LiveFeed::Charts)
//   POST /login      takes a token (http_access.h)

#ifndef PERCENTDELTA_SERVER_HTTP_PAGE_HANDLER_H_
#define PERCENTDELTA_SERVER_HTTP_PAGE_HANDLER_H_

#include <string>
#include <utility>

#include "server/http/http_access.h"
#include "server/http/http_message.h"
#include "server/http/live_feed.h"

namespace percentdelta {

// Thread-safe, immutable.
class PageHandler {
 public:
  // `feed` must outlive the handler and its responses.
  PageHandler(HttpAccess access, const LiveFeed& feed);

  HttpResponse Handle(const HttpRequest& request) const;

 private:
  HttpResponse Events(const HttpRequest& request) const;
  HttpResponse Step(const HttpRequest& request) const;
  HttpResponse Charts(const HttpRequest& request) const;

  const HttpAccess access_;
  const LiveFeed& feed_;
  const std::string policy_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_HTTP_PAGE_HANDLER_H_
