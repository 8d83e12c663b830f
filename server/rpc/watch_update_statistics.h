// SPDX-License-Identifier: Apache-2.0

// The RPC Statistics.WatchUpdateStatistics.

#ifndef PERCENTDELTA_SERVER_RPC_WATCH_UPDATE_STATISTICS_H_
#define PERCENTDELTA_SERVER_RPC_WATCH_UPDATE_STATISTICS_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/coordinator/statistics_ring.h"
#include "server/rpc/call_limiter.h"

namespace percentdelta {

// Streams the ring's steps as they are completed. The reactor owns itself until the call is done;
// the ring and the limiter must outlive it. `request` and what is streamed are serialized messages
// of the .proto.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatchUpdateStatistics(
    StatisticsRing& ring, CallLimiter& limiter, const CallPeer& peer,
    const grpc::ByteBuffer& request);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_WATCH_UPDATE_STATISTICS_H_
