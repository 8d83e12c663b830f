// SPDX-License-Identifier: Apache-2.0

// How much of a server its clients may take, together and each (pd-server's --limits). What counts
// against a limit, and what happens to calls beyond it, is in call_limiter.h and connections.h.

#ifndef PERCENTDELTA_SERVER_RPC_LIMITS_H_
#define PERCENTDELTA_SERVER_RPC_LIMITS_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace percentdelta {

// The calls that may last, or whose answers may be large. All others are answered at once, with a
// few bytes.
enum class CallKind {
  kPush,
  kPull,
  kLease,  // that waits for work
  kNorms,  // that waits for the norms of other shards
  kWatch,
  kQuery,  // of statistics, of the progress, or of the job
};
inline constexpr int kCallKinds = 6;

// As in "pushes", which is also the name of its limit.
absl::string_view NameOf(CallKind kind);

struct CallLimit {
  int total = 0;           // calls in flight
  int per_connection = 0;  // of these, on one connection
  int per_caller = 0;      // of one caller (CallPeer), on all of its connections
};

struct Limits {
  const CallLimit& of(CallKind kind) const { return calls[static_cast<int>(kind)]; }
  CallLimit& of(CallKind kind) { return calls[static_cast<int>(kind)]; }

  // By kind. A worker needs one push, one pull and one waiting lease at a time; a shard asks
  // another for the norms of each of its slices. All workers may show the same certificate: a
  // caller may have three quarters of the places, so that some remain for others.
  std::array<CallLimit, kCallKinds> calls = {{{256, 32, 192},
                                              {512, 32, 384},
                                              {1024, 64, 768},
                                              {16384, 4096, 12288},
                                              {256, 32, 192},
                                              {64, 8, 48}}};

  int connections = 2048;
  int connections_per_address = 1536;
  int streams = 4096;            // concurrent calls on one connection, of all kinds
  int workers = 4096;            // names of workers that have called within a minute
  int queries_per_second = 500;  // on one connection
  int queries_per_second_per_caller = 1000;

  // Of a message of a push, and of requests of other servers.
  int message_bytes = 8 << 20;
  // Of a request of any other call.
  int request_bytes = 64 << 10;
  // Of the headers of a call.
  int metadata_bytes = 16 << 10;
  // Of a name in a request: of a worker, a tensor, a layer, an address.
  int name_bytes = 512;

  // A lease may be renewed until it is this many of its deadlines old (lease_table.h).
  int lease_deadlines = 10;

  // Bytes that the library may hold for connections, calls and messages that are being received.
  // It counts some of them only, and refuses new ones when it has too many.
  int64_t transport_bytes = int64_t{512} << 20;

  // Bytes that one connection may send without an answer: headers that never end, which gRPC counts
  // nowhere (flood_watch.h). All connections together may send a quarter of transport_bytes so. A
  // connection with a product of bandwidth and delay above this (10 Gbit/s over 25 ms) needs more.
  int64_t unanswered_bytes = int64_t{32} << 20;

  // Bytes of gradients that are being received, of slices that are not complete yet. Pushes beyond
  // wait: they are not read on.
  int64_t push_bytes = int64_t{1} << 30;

  // A call that is being sent or received, and on which nothing has moved for so long, is ended.
  absl::Duration stall = absl::Seconds(30);

  // Time from accepting a connection to its first HTTP/2 message.
  absl::Duration handshake = absl::Seconds(20);

  // Refusals within 10 s after which a client's connection is closed, those by role, certificate or
  // token included. Once all connections of a caller have had ten times as many, each of them is
  // closed after a tenth; what is refused by role counts for its connection alone.
  int refusals = 200;
};

// Parses what --limits takes: "pushes=64,queries=8,stall=1m" changes these limits of the default
// ones. kInvalidArgument, naming the limit: unknown, given twice, or not a number (a duration) in
// its range.
absl::StatusOr<Limits> ParseLimits(absl::string_view text);

// Every limit with its default value and its meaning, a line each, for --help.
std::string LimitsHelp();

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_LIMITS_H_
