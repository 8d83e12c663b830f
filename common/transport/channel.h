// SPDX-License-Identifier: Apache-2.0

// gRPC channels with this project's settings.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_CHANNEL_H_
#define PERCENTDELTA_COMMON_TRANSPORT_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "common/transport/credentials.h"

namespace percentdelta {

// Maximum size of a message, sent or received: a chunk of values and its envelope, with room to
// spare. gRPC's default is 4 MiB for receiving and no limit for sending.
inline constexpr int kMaxMessageBytes = 8 << 20;

// Maximum size of received metadata: the headers that proxies and service meshes add, and the
// message of an error, which is sent as metadata (kMaxStatusMessage in
// common/transport/grpc_status.h, up to three bytes per character). gRPC's default of 8 KiB would
// replace a long error by another one.
inline constexpr int kMaxMetadataBytes = 64 << 10;

// How often a silent connection is probed, and the shortest interval that a server tolerates.
inline constexpr int kClientKeepaliveMs = 20'000;
inline constexpr int kServerKeepaliveMinMs = 10'000;

// Timeout of an attempt to connect: TCP's handshake and HTTP/2's first exchange. The addresses of a
// name are tried one after the other, each for this long. Packets get lost, and a busy or suspended
// server answers seconds later: this allows three retransmissions (after 1, 3 and 7 s). It is less
// than pdctl's deadline, so that a name whose first address is unreachable works.
inline constexpr int kConnectTimeoutMs = 8'000;

// Makes a channel to `address`, HOST:PORT as defined in common/base/address.h, that shares no
// connection with other channels. Resolves names as the system does (nsswitch), not with gRPC's DNS
// client, unless the user has set GRPC_DNS_RESOLVER. Ignores a proxy that the environment names.
// Connects on the first call, and reconnects within about a second when the peer comes back, even
// under a new IP address of its name. If `address` is not HOST:PORT, all calls fail with
// UNAVAILABLE. The same holds for an address that `credentials` do not allow (CheckSecurityOf);
// null allows plaintext to loopback addresses.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address,
    const std::shared_ptr<const ClientCredentials>& credentials = nullptr);

// Makes the channel reconnect at once, after a call that could not reach the peer. Callers pause by
// themselves before they retry; gRPC's own pause ends at a time of the wall clock, and would last
// an hour if that clock were set back by an hour.
void ResetBackoff(grpc::Channel& channel);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_CHANNEL_H_
