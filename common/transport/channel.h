// gRPC channels as this project uses them.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_CHANNEL_H_
#define PERCENTDELTA_COMMON_TRANSPORT_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace percentdelta {

// Largest message that is sent or taken: a chunk of values and its envelope, with room. gRPC's
// default is 4 MiB for receiving and no limit for sending.
inline constexpr int kMaxMessageBytes = 8 << 20;

// Largest metadata that is taken: the headers that proxies and service meshes add, and the message
// of an error, which is sent as metadata (kMaxStatusMessage in common/transport/grpc_status.h, up
// to three bytes a character). gRPC's default of 8 KiB would replace a long error by another one.
inline constexpr int kMaxMetadataBytes = 64 << 10;

// How often a silent connection is probed, and how often a server lets itself be probed.
inline constexpr int kClientKeepaliveMs = 20'000;
inline constexpr int kServerKeepaliveMinMs = 10'000;

// How long an attempt to connect may take: TCP's handshake and HTTP/2's first exchange, with all
// addresses of a name tried one after the other, each for this long. Packets get lost, and a busy
// or suspended server answers seconds later: this allows three retransmissions (after 1, 3 and
// 7 s). It is less than pdctl's deadline, so that a name whose first address leads nowhere works.
inline constexpr int kConnectTimeoutMs = 8'000;

// A channel of its own (no connection is shared with other channels) to `address`, HOST:PORT as
// common/base/address.h defines it. Names are resolved as the system does it (nsswitch), not by a
// DNS client of gRPC's own, unless the user has set GRPC_DNS_RESOLVER. A proxy that the environment
// names is not used. Connects with the first call, and again within about a second when the peer
// comes back, under a new IP address if its name has one. With an `address` that is not HOST:PORT
// all calls fail with UNAVAILABLE.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

// After a call that could not reach the peer: has the channel connect again at once. Whoever calls
// again has paused by itself; gRPC's own pause ends by a timer that waits for a moment of the wall
// clock, and a clock that was set back by an hour would make it an hour long.
void ResetBackoff(grpc::Channel& channel);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_CHANNEL_H_
