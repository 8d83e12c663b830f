// Listens on a TCP port and accepts connections, also after a time without file descriptors.
//
// gRPC's own listener (1.51) waits for the edges of epoll: the first accept() that fails for want
// of a descriptor is its last, and the server never serves a new connection again. Ours polls, and
// refuses connections before the descriptors run out, so that files and peers still get theirs.

#ifndef PERCENTDELTA_SERVER_RPC_LISTENER_H_
#define PERCENTDELTA_SERVER_RPC_LISTENER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/address.h"
#include "common/base/log.h"

namespace percentdelta {

// Thread-safe. One thread of its own accepts.
class Listener {
 public:
  struct Options {
    // Port 0 takes a free one. A name is listened on at all of its addresses ("localhost":
    // 127.0.0.1 and ::1); 0.0.0.0 and :: at all interfaces, for IPv4 and IPv6.
    HostPort address;

    // Connections whose descriptor would be among the last `reserve` are refused: closed at once.
    // 0: an eighth of the limit, 8..64.
    int reserve = 0;

    // A shortage is over when no connection was refused for this long. One line tells of its
    // beginning and one of its end.
    absl::Duration quiet = absl::Seconds(5);

    Logger log;
  };

  // Binds and listens; connections wait until Accept().
  //   kUnavailable  what the system says, as when the port is in use (it is not shared with another
  //                 process), or the address is another machine's
  static absl::StatusOr<std::unique_ptr<Listener>> Open(Options options);

  ~Listener();  // Stop()

  int port() const { return port_; }

  // Begins to accept. `take` gets each connection's descriptor, non-blocking, and owns it. To be
  // called once.
  void Accept(std::function<void(int fd)> take);

  // Closes the port and returns when `take` runs no more. Connections that have been taken stay.
  void Stop();

 private:
  explicit Listener(Options options) : options_(std::move(options)) {}

  absl::Status Bind();
  void Run();
  bool AcceptOne(int listening);
  void Refuse(int error);
  void NoteQuiet();
  int MostDescriptors() const;

  const Options options_;
  std::vector<int> sockets_;
  int port_ = 0;
  int stop_ = -1;  // an eventfd, readable when the thread is to end
  std::atomic<bool> stopping_{false};
  std::function<void(int fd)> take_;

  // Of the thread.
  bool short_ = false;  // of descriptors
  int refused_ = 0;     // since it has been
  absl::Duration last_refused_;

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_LISTENER_H_
