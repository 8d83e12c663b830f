// SPDX-License-Identifier: Apache-2.0

// The connections that this process has accepted on a port, as the kernel knows them: gRPC tells
// neither how many there are, nor lets one be closed.

#ifndef PERCENTDELTA_SERVER_RPC_CONNECTIONS_H_
#define PERCENTDELTA_SERVER_RPC_CONNECTIONS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace percentdelta {

struct ConnectionCounts {
  int total = 0;
  std::map<std::string, int> by_address;  // as AddressOfConnection() returns it
};

// Takes time proportional to the number of open descriptors.
ConnectionCounts CountConnections(int port);

// The peer of a connected TCP socket, as gRPC names it: "ipv4:127.0.0.1:41234". Empty: it is not
// connected.
std::string PeerOfConnection(int descriptor);

// The same without the port: "ipv4:127.0.0.1".
std::string AddressOfConnection(int descriptor);

// What has gone over one connection since it began, in bytes of TCP.
struct ConnectionTraffic {
  std::string peer;  // as gRPC calls it, see ShutDownConnection
  int64_t received = 0;
  int64_t sent = 0;
  int64_t unread = 0;  // of the received ones: not read by this process yet
};

// Of the connections on `port`. Empty where the kernel does not say (Linux before 4.19).
std::vector<ConnectionTraffic> ListTraffic(int port);

// Shuts down the connection on `port` of the client that gRPC calls `peer`, as in
// "ipv4:127.0.0.1:41234" or "ipv6:%5B::1%5D:41234". Its owner notices and closes it. Returns
// whether there was one. Never closes a descriptor of another owner, even if descriptors are closed
// and opened meanwhile.
bool ShutDownConnection(int port, const std::string& peer);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_CONNECTIONS_H_
