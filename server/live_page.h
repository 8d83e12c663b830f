// SPDX-License-Identifier: Apache-2.0

// The live page of a training (docs/page.md), which shard 0 serves over HTTP beside the training:
// on threads of its own, and from the coordinator's state, which it only reads.

#ifndef PERCENTDELTA_SERVER_LIVE_PAGE_H_
#define PERCENTDELTA_SERVER_LIVE_PAGE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/coordinator/coordinator.h"

namespace percentdelta {

// Thread-safe. The destructor closes it.
class LivePage {
 public:
  struct Options {
    std::string listen;      // "host:port"; port 0 takes a free one
    std::string token_file;  // as TokenTable reads it (access_policy.h); empty: no token is needed
  };

  // Threads that it starts.
  static constexpr int kThreads = 76;

  // `coordinator` must outlive the page. Errors: of CheckHttp
  // (http_options.h) and TokenTable::Read, and kUnavailable if it cannot
  // listen.
  static absl::StatusOr<std::unique_ptr<LivePage>> Start(const Options& options,
                                                         Coordinator& coordinator);

  ~LivePage();

  // Where a browser on this machine finds it: "http://127.0.0.1:8080/".
  const std::string& url() const;

 private:
  class Impl;
  explicit LivePage(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_LIVE_PAGE_H_
