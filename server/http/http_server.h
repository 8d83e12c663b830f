// SPDX-License-Identifier: Apache-2.0

// Serves HTTP on threads of its own, through civetweb. Every resource is bounded: connections,
// streams, the size of a request, how long a client may take to send or to receive. No request
// reaches the file system: the library has no folder to serve, and the handler takes all paths.

#ifndef PERCENTDELTA_SERVER_HTTP_HTTP_SERVER_H_
#define PERCENTDELTA_SERVER_HTTP_HTTP_SERVER_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/address.h"
#include "server/http/http_message.h"

struct mg_connection;
struct mg_context;

namespace percentdelta {

// Thread-safe. The destructor ends all requests; what makes their next_part return must have been
// told to end before.
class HttpServer {
 public:
  struct Options {
    HostPort listen;  // port 0 takes a free port

    // Responses with `next_part` at a time; one beyond gets 503.
    int max_streams = 64;

    // Threads for other requests. Connections beyond all threads wait, up to a small number of
    // them.
    int request_threads = 6;

    // How long a client may take to send its request, or to take a part of the response.
    absl::Duration patience = absl::Seconds(10);

    // Called on the server's threads, several at a time.
    std::function<HttpResponse(const HttpRequest&)> handle;
  };

  // kUnavailable, with the address and the reason, if it cannot listen.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options);

  ~HttpServer();

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }

 private:
  explicit HttpServer(Options options) : options_(std::move(options)) {}

  static int OnRequest(mg_connection* connection);
  int Answer(mg_connection* connection);
  void Stream(mg_connection* connection, const HttpResponse& response);

  const Options options_;
  std::atomic<int> streams_{0};
  mg_context* context_ = nullptr;
  int port_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_HTTP_HTTP_SERVER_H_
