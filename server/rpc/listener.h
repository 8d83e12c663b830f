// SPDX-License-Identifier: Apache-2.0

// Listens on a TCP port and accepts connections. Survives a shortage of file descriptors.
//
// gRPC's own listener (1.51) uses edge-triggered epoll: after one accept() that fails because no
// descriptor is free, it is never notified again, and the server accepts no more connections. This
// listener polls, and refuses connections before the descriptors run out, so that some remain for
// files and for connections to peers.

#ifndef PERCENTDELTA_SERVER_RPC_LISTENER_H_
#define PERCENTDELTA_SERVER_RPC_LISTENER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/address.h"
#include "common/base/descriptors.h"
#include "common/base/log.h"
#include "server/rpc/connections.h"

namespace percentdelta {

// Thread-safe. A thread of its own accepts connections.
class Listener {
 public:
  struct Options {
    // Port 0 takes a free port. A host name means all of its addresses ("localhost": 127.0.0.1 and
    // ::1); 0.0.0.0 and :: mean all interfaces, for IPv4 and IPv6.
    HostPort address;

    // Number of descriptors to leave free: a connection that would take one of them is closed at
    // once. 0 means an eighth of the limit, within 8..64.
    int reserve = 0;

    // Number of connections that may be open; one beyond is closed at once. 0 means no limit.
    int max_connections = 0;

    // The same, of connections from one address.
    int max_connections_per_address = 0;

    // A shortage, of descriptors or of connections, has ended when no connection was refused for
    // this long. Its beginning and its end are logged, one line each.
    absl::Duration quiet_period = absl::Seconds(5);

    Logger log;
  };

  // Binds and listens; connections queue until Accept().
  //   kUnavailable  the system's error: for example, the port is in use (it is never shared with
  //                 another process), or the address belongs to another machine
  static absl::StatusOr<std::unique_ptr<Listener>> Open(Options options);

  ~Listener();  // Stop()

  int port() const { return port_; }

  // Starts to accept. `take` receives and owns each connection's descriptor, which is non-blocking.
  // Must be called at most once.
  void Accept(std::function<void(int fd)> take);

  // Closes the port and returns when no call of `take` is in progress. Accepted connections stay
  // open.
  void Stop();

 private:
  explicit Listener(Options options) : options_(std::move(options)) {}

  absl::Status Bind();
  void Run();
  bool AcceptOne(const UniqueDescriptor& socket);
  bool HasRoom(int fd);
  void Refuse(absl::string_view what, int64_t limit, absl::string_view error,
              absl::string_view advice);
  void RefuseForDescriptors(int error);
  void CheckShortageOver();
  int DescriptorThreshold() const;

  const Options options_;
  std::vector<UniqueDescriptor> sockets_;
  int port_ = 0;
  UniqueDescriptor stop_;  // an eventfd; readable tells the thread to end
  std::atomic<bool> stopping_{false};
  std::function<void(int fd)> take_;

  // Used by the thread only.
  bool shortage_ = false;  // of descriptors or connections
  int refused_ = 0;        // connections, since the shortage began
  absl::Duration last_refused_;
  ConnectionCounts open_;  // upper bounds, counted exactly at `counted_`
  absl::Duration counted_;

  std::thread thread_;  // last member: uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_LISTENER_H_
