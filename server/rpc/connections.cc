// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/connections.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/descriptors.h"

namespace percentdelta {
namespace {

using NameFunction = int (*)(int, sockaddr*, socklen_t*);

// getsockname() or getpeername() of a TCP socket; family 0: it is none, or not connected.
sockaddr_storage AddressOf(int descriptor, NameFunction name) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (name(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return {};
  return address;
}

int PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return 0;
}

// As gRPC writes it: an IPv4 address that is mapped to IPv6 is one of IPv4.
std::string PeerOf(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text = {};
  if (address.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &ipv4.sin_addr, text.data(), text.size());
    return absl::StrCat("ipv4:", text.data(), ":", PortOf(address));
  }
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
    inet_ntop(AF_INET, &ipv6.sin6_addr.s6_addr[12], text.data(), text.size());
    return absl::StrCat("ipv4:", text.data(), ":", PortOf(address));
  }
  inet_ntop(AF_INET6, &ipv6.sin6_addr, text.data(), text.size());
  return absl::StrCat("ipv6:%5B", text.data(), "%5D:", PortOf(address));
}

// Calls `visit` with the descriptors of connections on `port`, until it returns false.
void VisitConnections(int port, const std::function<bool(int descriptor)>& visit) {
  DIR* const directory = opendir("/proc/self/fd");
  if (directory == nullptr) return;
  const absl::Cleanup close_directory = [directory] { closedir(directory); };
  while (const dirent* entry = readdir(directory)) {
    const int descriptor = std::atoi(entry->d_name);  // "." and "..": 0, which is no connection
    if (PortOf(AddressOf(descriptor, getsockname)) != port) continue;
    if (PortOf(AddressOf(descriptor, getpeername)) == 0) continue;
    if (!visit(descriptor)) return;
  }
}

}  // namespace

std::string PeerOfConnection(int descriptor) {
  const sockaddr_storage address = AddressOf(descriptor, getpeername);
  return PortOf(address) == 0 ? "" : PeerOf(address);
}

std::string AddressOfConnection(int descriptor) {
  const std::string peer = PeerOfConnection(descriptor);
  return peer.substr(0, peer.rfind(':'));
}

ConnectionCounts CountConnections(int port) {
  ConnectionCounts counts;
  std::set<std::string> peers;  // several descriptors may be of one connection
  VisitConnections(port, [&](int descriptor) {
    const std::string peer = PeerOfConnection(descriptor);
    if (!peers.insert(peer).second) return true;
    ++counts.total;
    ++counts.by_address[peer.substr(0, peer.rfind(':'))];
    return true;
  });
  return counts;
}

std::vector<ConnectionTraffic> ListTraffic(int port) {
  std::vector<ConnectionTraffic> result;
  VisitConnections(port, [&](int descriptor) {
    int unread = 0;
    if (ioctl(descriptor, FIONREAD, &unread) != 0) return true;
    tcp_info info = {};
    socklen_t size = sizeof(info);
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return true;
    if (size < offsetof(tcp_info, tcpi_bytes_sent) + sizeof(info.tcpi_bytes_sent)) return false;
    const sockaddr_storage address = AddressOf(descriptor, getpeername);
    if (PortOf(address) == 0) return true;
    result.push_back({PeerOf(address), static_cast<int64_t>(info.tcpi_bytes_received),
                      static_cast<int64_t>(info.tcpi_bytes_sent), unread});
    return true;
  });
  return result;
}

bool ShutDownConnection(int port, const std::string& peer) {
  bool found = false;
  VisitConnections(port, [&](int descriptor) {
    // A duplicate stays the same socket, whatever its owner does with the descriptor meanwhile.
    const UniqueDescriptor same(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
    if (!same.ok()) return true;
    const sockaddr_storage address = AddressOf(same.get(), getpeername);
    if (PortOf(address) == 0 || PeerOf(address) != peer) return true;
    if (PortOf(AddressOf(same.get(), getsockname)) != port) return true;
    found = shutdown(same.get(), SHUT_RDWR) == 0;
    return false;
  });
  return found;
}

}  // namespace percentdelta
