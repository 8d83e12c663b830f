// SPDX-License-Identifier: Apache-2.0

// Counts the calls in flight, by kind, by connection and by caller, and decides which may begin,
// which must end because nothing moves on them, and whose connection is closed. The one mechanism
// for all limits of calls; free of gRPC.
//
// A call that waits for the server (for work, for the next step) may do so for as long as its kind
// allows. A call that is being sent or received ("busy") must move: Tick() ends those that stand
// still. When all places are taken, a newcomer gets the place of the call that has stood still for
// longest, if that is at least kEvictAfter. Pushes that would exceed the budget of bytes wait: the
// oldest one goes on, so that some always do.
//
// A connection whose calls are refused again and again is closed, because a refusal costs the
// server about as much as its client. A caller that connects again after that is known by its
// certificate, its token or its address: its connections are closed sooner.

#ifndef PERCENTDELTA_SERVER_RPC_CALL_LIMITER_H_
#define PERCENTDELTA_SERVER_RPC_CALL_LIMITER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/rpc/limits.h"

namespace percentdelta {

// Whose call it is.
struct CallPeer {
  std::string connection;  // as in "ipv4:10.0.0.1:41234"
  std::string caller;      // its certificate's or token's name, else AddressOf(connection)
};

// The address of a connection, without the port: "ipv4:10.0.0.1".
std::string AddressOf(absl::string_view connection);

// Thread-safe. Calls back under no lock. Must outlive its calls.
class CallLimiter {
 public:
  // A call that has stood still for this long gives its place to another.
  static constexpr absl::Duration kEvictAfter = absl::Seconds(2);
  // In which refusals are counted.
  static constexpr absl::Duration kRefusalWindow = absl::Seconds(10);

  struct Options {
    Limits limits;
    const Clock* clock = nullptr;  // must outlive the limiter
    Logger log;

    // Closes the connection of a client. Null: connections stay open.
    std::function<void(const std::string& peer)> disconnect;

    // Receives the connection of each call that reaches a service (refusal_watch.h). May be null.
    std::function<void(const std::string& peer)> entered = nullptr;
  };

  // A call's place, which it gives back at its end. Movable; an empty one has no effect.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept { *this = std::move(other); }
    Place& operator=(Place&& other) noexcept;
    ~Place() { Release(); }

    // Something has moved; from now on, the call waits for its client (busy) or for the server.
    void Moved(bool busy);

    // Sets the number of bytes that the call holds. Returns false if it must wait until `resume` of
    // Admit() is called, before it takes more.
    bool Hold(int64_t bytes);

    void Release();

   private:
    friend class CallLimiter;
    CallLimiter* limiter_ = nullptr;
    uint64_t id_ = 0;
  };

  struct Callbacks {
    // Ends the call with a status, at any time until its Place is released, and possibly shortly
    // after. Null: the call's connection is closed instead.
    std::function<void(const absl::Status& status)> end = nullptr;
    // See Place::Hold.
    std::function<void()> resume = nullptr;
  };

  explicit CallLimiter(Options options) : options_(std::move(options)) {}

  const Limits& limits() const { return options_.limits; }

  // A call has reached its service. To be called once a call, before all else.
  void Entered(const CallPeer& peer) const {
    if (options_.entered != nullptr) options_.entered(peer.connection);
  }

  // A place for a call; it is busy.
  //   kResourceExhausted  a limit is reached; the message names it. Counts as a refusal.
  absl::StatusOr<Place> Admit(CallKind kind, const CallPeer& peer, Callbacks callbacks);
  absl::StatusOr<Place> Admit(CallKind kind, const CallPeer& peer) {
    return Admit(kind, peer, Callbacks());
  }

  // A call was refused for whatever reason, or was given up by its client. It cost the server as
  // much as `weight` ordinary ones.
  void Refused(const CallPeer& peer, int weight = 1);

  // Ends what stands still. To be called several times a second.
  void Tick();

  // Calls in flight.
  int count(CallKind kind) const;

 private:
  struct Call {
    CallKind kind;
    CallPeer peer;
    bool busy = true;
    bool waits = false;  // for bytes
    int64_t bytes = 0;
    absl::Duration began;
    absl::Duration moved;
    Callbacks callbacks;
  };

  // A connection, or a caller.
  struct Peer {
    std::array<int, kCallKinds> counts = {};
    int refusals = 0;
    absl::Duration window_began;  // of the refusals
    double queries = 0;           // that may begin
    absl::Duration refilled;      // the queries
    bool closed = false;
  };

  // What is to be done once the lock is released.
  struct Actions {
    std::vector<std::function<void()>> calls;
    void Run() {
      for (const auto& call : calls) call();
    }
  };

  using Peers = std::map<std::string, Peer>;

  static Peer& FindPeer(Peers& peers, const std::string& name, int queries_per_second,
                        absl::Duration now);
  Peer& FindConnection(const CallPeer& peer, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Peer& FindCaller(const CallPeer& peer, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRate(const CallPeer& peer, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRoom(CallKind kind, const CallPeer& peer, absl::Duration now, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EvictOne(CallKind kind, absl::Duration now, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountRefusal(const CallPeer& peer, int weight, absl::Duration now, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(uint64_t id, const absl::Status& status, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(uint64_t id, Actions& actions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayHoldMore(uint64_t id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Resume(Actions& actions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Disconnect(const CallPeer& peer, const std::string& reason, Actions& actions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Forget(Peers& peers, absl::Duration now);

  const Options options_;

  mutable absl::Mutex mutex_;
  std::map<uint64_t, Call> calls_ ABSL_GUARDED_BY(mutex_);  // in the order in which they began
  Peers connections_ ABSL_GUARDED_BY(mutex_);
  Peers callers_ ABSL_GUARDED_BY(mutex_);
  std::array<int, kCallKinds> counts_ ABSL_GUARDED_BY(mutex_) = {};
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;       // calls that wait for bytes
  absl::Duration swept_ ABSL_GUARDED_BY(mutex_);  // when unused peers were last forgotten
  // When there was last no call to evict, by kind.
  std::array<absl::Duration, kCallKinds> searched_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_CALL_LIMITER_H_
