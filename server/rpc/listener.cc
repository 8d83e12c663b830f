// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/errno_status.h"
#include "server/rpc/connections.h"

namespace percentdelta {
namespace {

constexpr int kRetryMs = 100;  // during a shortage of descriptors
constexpr int kAttempts = 16;  // to find a port that is free on all addresses of a name
constexpr int kUserTimeoutMs = 20'000;
constexpr absl::Duration kCountInterval = absl::Milliseconds(100);  // of open connections
constexpr size_t kMaxAddresses = 4096;  // of connections that may be closed by now

// Returns a listening socket; an empty one, with errno set, if that failed.
UniqueDescriptor ListenAt(const sockaddr* address, socklen_t size, bool both_families) {
  UniqueDescriptor result(
      socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!result.ok()) return result;
  const int fd = result.get();
  // SO_REUSEADDR: a port may be taken while connections of its previous owner are in TIME_WAIT, but
  // not while another socket listens on it. SO_REUSEPORT, which gRPC sets by default, would let two
  // servers share the port silently.
  const int yes = 1;
  const int ipv6_only = both_families ? 0 : 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (address->sa_family == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only, sizeof(ipv6_only));
  }
  if (bind(fd, address, size) == 0 && listen(fd, SOMAXCONN) == 0) return result;
  return UniqueDescriptor();  // closing `result` leaves errno unchanged
}

void SetPort(sockaddr* address, int port) {
  const auto network_port = htons(static_cast<uint16_t>(port));
  if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = network_port;
  } else {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = network_port;
  }
}

int PortOf(const UniqueDescriptor& socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

// Listens on all interfaces, for IPv6 and IPv4 with one socket, or for IPv4 only if the machine has
// no IPv6. Returns as ListenAt does.
UniqueDescriptor ListenEverywhere(int port) {
  sockaddr_in6 ipv6 = {};
  ipv6.sin6_family = AF_INET6;
  SetPort(reinterpret_cast<sockaddr*>(&ipv6), port);
  UniqueDescriptor socket = ListenAt(reinterpret_cast<const sockaddr*>(&ipv6), sizeof(ipv6), true);
  if (socket.ok() || errno == EADDRINUSE || errno == EACCES || errno == EMFILE) return socket;
  sockaddr_in ipv4 = {};
  ipv4.sin_family = AF_INET;
  SetPort(reinterpret_cast<sockaddr*>(&ipv4), port);
  return ListenAt(reinterpret_cast<const sockaddr*>(&ipv4), sizeof(ipv4), false);
}

// Listens on every address of a list, all with the same port. Skips addresses that this machine
// does not have, such as ::1 without IPv6, as long as one remains. Returns 0 or an errno.
int ListenAtAll(const addrinfo* list, int port, std::vector<UniqueDescriptor>& sockets) {
  int error = EADDRNOTAVAIL;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    SetPort(each->ai_addr, port);
    UniqueDescriptor socket = ListenAt(each->ai_addr, each->ai_addrlen, false);
    if (!socket.ok()) {
      error = errno;
      if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) continue;
      sockets.clear();
      return error;
    }
    if (port == 0) port = PortOf(socket);
    sockets.push_back(std::move(socket));
  }
  return sockets.empty() ? error : 0;
}

bool IsShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

absl::Duration Now() { return SteadyClock().Now(); }

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(Options options) {
  std::unique_ptr<Listener> listener(new Listener(std::move(options)));
  listener->stop_ = UniqueDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  absl::Status status =
      listener->stop_.ok() ? listener->Bind() : absl::UnavailableError(ErrnoMessage(errno));
  if (status.ok()) return listener;
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", ToString(listener->options_.address), ": ",
                   status.message(), "; choose another address with --listen=HOST:PORT"));
}

absl::Status Listener::Bind() {
  const HostPort& address = options_.address;
  int error = 0;
  if (IsWildcard(address.host)) {
    UniqueDescriptor socket = ListenEverywhere(address.port);
    if (!socket.ok()) return absl::UnavailableError(ErrnoMessage(errno));
    sockets_.push_back(std::move(socket));
  } else {
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int unknown = getaddrinfo(address.host.c_str(), nullptr, &hints, &list);
    if (unknown != 0) return absl::UnavailableError(gai_strerror(unknown));
    const absl::Cleanup free_list = [list] { freeaddrinfo(list); };
    for (int i = 0; i < kAttempts; ++i) {
      error = ListenAtAll(list, address.port, sockets_);
      // The port that is free on one address may be in use on another.
      if (error != EADDRINUSE || address.port != 0) break;
    }
    if (error != 0) return absl::UnavailableError(ErrnoMessage(error));
  }
  port_ = PortOf(sockets_.front());
  return absl::OkStatus();
}

Listener::~Listener() { Stop(); }

void Listener::Accept(std::function<void(int fd)> take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  stopping_ = true;
  if (thread_.joinable()) {
    const uint64_t one = 1;
    // The write can only fail if the eventfd is full, and then it is readable already.
    [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof(one));
    thread_.join();
  }
  sockets_.clear();
}

void Listener::Run() {
  std::vector<pollfd> waits;
  for (const UniqueDescriptor& socket : sockets_) waits.push_back({socket.get(), POLLIN, 0});
  waits.push_back({stop_.get(), POLLIN, 0});
  while (!stopping_) {
    poll(waits.data(), waits.size(), shortage_ ? kRetryMs : -1);
    bool pause = false;
    for (size_t i = 0; i + 1 < waits.size() && !stopping_; ++i) {
      if (waits[i].revents != 0 && !AcceptOne(sockets_[i])) pause = true;
    }
    CheckShortageOver();
    // Queued connections keep the socket readable, so that poll() would return at once.
    if (pause) poll(&waits.back(), 1, kRetryMs);
  }
}

// Returns false if accepting failed and an immediate retry would fail, too.
bool Listener::AcceptOne(const UniqueDescriptor& socket) {
  const int fd = accept4(socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    if (IsShortage(errno)) {
      RefuseForDescriptors(errno);
      return false;
    }
    // These mean that the client has given up, or that nothing happened: retry at once. Other
    // errors are the network's and may persist.
    return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
  }
  if (fd >= DescriptorThreshold()) {
    close(fd);
    RefuseForDescriptors(EMFILE);
    return true;
  }
  if (!HasRoom(fd)) {
    close(fd);
    return true;
  }
  // The options that gRPC sets on sockets that it accepts itself: send small messages at once, and
  // drop a peer that acknowledges nothing.
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof(kUserTimeoutMs));
  take_(fd);
  return true;
}

int Listener::DescriptorThreshold() const {
  const int limit = DescriptorLimit();
  return limit - (options_.reserve > 0 ? options_.reserve : std::clamp(limit / 8, 8, 64));
}

// gRPC does not report closed connections: counts the open ones anew when there may be too many.
bool Listener::HasRoom(int fd) {
  const std::string address = AddressOfConnection(fd);
  const auto is_full = [](int count, int limit) { return limit != 0 && count > limit; };
  const auto all_full = [&] { return is_full(open_.total, options_.max_connections); };
  const auto address_full = [&] {
    return is_full(open_.by_address[address], options_.max_connections_per_address);
  };
  ++open_.total;
  ++open_.by_address[address];
  const absl::Duration now = Now();
  const bool many_addresses = open_.by_address.size() > kMaxAddresses;
  if ((all_full() || address_full() || many_addresses) && now - counted_ >= kCountInterval) {
    counted_ = now;
    open_ = CountConnections(port_);
  }
  if (all_full()) {
    Refuse("too many connections", options_.max_connections, "the limit is reached",
           "raise the limit with --limits=connections=");
    return false;
  }
  if (address_full()) {
    Refuse(absl::StrCat("too many connections from ", address),
           options_.max_connections_per_address, "the limit is reached",
           "raise the limit with --limits=connections_per_address=");
    return false;
  }
  return true;
}

void Listener::RefuseForDescriptors(int error) {
  Refuse("out of file descriptors", DescriptorLimit(), ErrnoMessage(error),
         "raise the limit with ulimit -n, LimitNOFILE= or ulimits:");
}

void Listener::Refuse(absl::string_view what, int64_t limit, absl::string_view error,
                      absl::string_view advice) {
  last_refused_ = Now();
  ++refused_;
  if (shortage_) return;
  shortage_ = true;
  options_.log->error("{}, refusing connections limit={} error=\"{}\" advice=\"{}\"", what, limit,
                      error, advice);
}

void Listener::CheckShortageOver() {
  if (!shortage_ || Now() - last_refused_ < options_.quiet_period) return;
  options_.log->info("accepting connections again refused={}", refused_);
  shortage_ = false;
  refused_ = 0;
}

}  // namespace percentdelta
