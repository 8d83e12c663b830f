// SPDX-License-Identifier: Apache-2.0

// Closes connections that send and send without being answered.
//
// gRPC 1.51 keeps the headers of a call until they end, however long they become (CVE-2023-33953),
// before any call exists that could be limited. HTTP/2 has no flow control for headers, so a server
// sends nothing while they come. All else is answered soon: data by window updates, settings and
// pings by acknowledgements. The watch therefore looks at the kernel's counters of each connection.
// What the server has not read yet takes none of its memory, and does not count: a server that is
// short of processor time closes nothing.

#ifndef PERCENTDELTA_SERVER_RPC_FLOOD_WATCH_H_
#define PERCENTDELTA_SERVER_RPC_FLOOD_WATCH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/base/log.h"
#include "server/rpc/connections.h"

namespace percentdelta {

// Not thread-safe.
class FloodWatch {
 public:
  struct Options {
    // Bytes that the server may have read of a connection without an answer, and of all together.
    int64_t per_connection = 0;
    int64_t total = 0;

    std::function<std::vector<ConnectionTraffic>()> list;
    std::function<void(const std::string& peer)> disconnect;
    Logger log;
  };

  explicit FloodWatch(Options options) : options_(std::move(options)) {}

  // Closes what has exceeded a limit; of the total, the connections with the most bytes. To be
  // called 20 times a second: between two calls, more can come than the limits allow. Of many
  // connections on which nothing stands out, looks at every kRareTicks-th call only.
  void Tick();

  static constexpr int kRareTicks = 5;
  static constexpr size_t kManyConnections = 256;

 private:
  struct Seen {
    int64_t answered = 0;  // bytes read when the server last sent something
    int64_t received = 0;
    int64_t sent = 0;
    bool closed = false;
  };

  const Options options_;
  std::map<std::string, Seen> seen_;  // by peer
  int skipped_ = 0;                   // ticks, since the last look
  bool stands_out_ = false;           // a connection did, at the last look
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_FLOOD_WATCH_H_
