// SPDX-License-Identifier: Apache-2.0

// The calls that clients have begun on each connection, as gRPC counts them (channelz).

#ifndef PERCENTDELTA_SERVER_RPC_BEGUN_CALLS_H_
#define PERCENTDELTA_SERVER_RPC_BEGUN_CALLS_H_

#include "server/rpc/refusal_watch.h"

namespace percentdelta {

// Of the connections to `port` that have finished their handshake. Includes calls that were refused
// before they reached a service. Takes some 50 us a connection.
BegunCalls CountBegunCalls(int port);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_BEGUN_CALLS_H_
