// gRPC channels as this project uses them.

#ifndef PERCENTDELTA_COMMON_CHANNEL_H_
#define PERCENTDELTA_COMMON_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace percentdelta {

// Largest message that is sent or taken: a chunk of values and its envelope, with room.
inline constexpr int kMaxMessageBytes = 8 << 20;

// How often a silent connection is probed, and how often a server lets itself be probed.
inline constexpr int kClientKeepaliveMs = 20'000;
inline constexpr int kServerKeepaliveMinMs = 10'000;

// A channel of its own (no connection is shared with other channels) to "host:port". Connects with
// the first call, and again within about a second when the peer comes back, under a new IP address
// if its name has one.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

// After a call that could not reach the peer: has the channel connect again at once. Whoever calls
// again has paused by itself; gRPC's own pause ends by a timer that waits for a moment of the wall
// clock, and a clock that was set back by an hour would make it an hour long.
void ConnectAgain(grpc::Channel& channel);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CHANNEL_H_
