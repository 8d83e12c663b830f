// SPDX-License-Identifier: Apache-2.0

// Finds out whose TLS handshake was refused, and why. gRPC (1.51) tells neither: no hook is called,
// and the error that it logs has the reason but not the peer. The server accepts its connections
// itself (listener.h), so this looks at the new ones: once gRPC has logged that a handshake failed,
// the connection that it closes next is the one.

#ifndef PERCENTDELTA_SERVER_RPC_HANDSHAKE_WATCH_H_
#define PERCENTDELTA_SERVER_RPC_HANDSHAKE_WATCH_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/descriptors.h"
#include "common/base/library_errors.h"
#include "server/rpc/refusal_log.h"

namespace percentdelta {

// Thread-safe. Only handshakes that fail at the same moment may be joined with each other's
// reasons. A thread of its own waits for connections to end.
class HandshakeWatch {
 public:
  // Connections that are looked at: each takes a descriptor.
  static constexpr size_t kMaxConnections = 128;

  // Writes a refusal for each handshake that fails. `handshake`: how long one may take.
  HandshakeWatch(std::shared_ptr<RefusalLog> refusals, absl::Duration handshake);
  ~HandshakeWatch();

  // A connection was accepted. Its owner may close the descriptor at any time after the call.
  void Accepted(int descriptor);

  // A library has logged an error. Errors of handshakes are noticed by their text.
  void TakeError(absl::string_view message);

 private:
  struct Connection {
    UniqueDescriptor descriptor;  // a duplicate
    std::string peer;
    absl::Duration accepted;
  };

  void Run();
  std::optional<std::string> AwaitEnd();
  void ForgetOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetEnded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<RefusalLog> refusals_;
  const absl::Duration handshake_;
  const SteadyClock clock_;

  absl::Mutex mutex_;
  std::deque<Connection> connections_ ABSL_GUARDED_BY(mutex_);  // the oldest first
  std::deque<std::string> reasons_ ABSL_GUARDED_BY(mutex_);     // of handshakes that failed
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;                   // uses the members above
  const LibraryErrorListener listener_;  // last member: calls TakeError
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_HANDSHAKE_WATCH_H_
