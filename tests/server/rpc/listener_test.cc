// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/descriptors.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Connects a socket to a port of this machine. Returns 0, or -1 if that is refused.
int ConnectSocket(int fd, int port, bool ipv6) {
  sockaddr_in ipv4_address = {};
  ipv4_address.sin_family = AF_INET;
  ipv4_address.sin_port = htons(static_cast<uint16_t>(port));
  ipv4_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 ipv6_address = {};
  ipv6_address.sin6_family = AF_INET6;
  ipv6_address.sin6_port = ipv4_address.sin_port;
  ipv6_address.sin6_addr = in6addr_loopback;
  return ipv6 ? connect(fd, reinterpret_cast<const sockaddr*>(&ipv6_address), sizeof(ipv6_address))
              : connect(fd, reinterpret_cast<const sockaddr*>(&ipv4_address), sizeof(ipv4_address));
}

// Returns a socket that is connected to a port of this machine, or -1 if that is refused.
int Connect(int port, bool ipv6) {
  const int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  if (ConnectSocket(fd, port, ipv6) == 0) return fd;
  close(fd);
  return -1;
}

bool HasIpv6() {
  const int fd = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool has = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return has;
}

// Holds the connections that it takes.
class Taker {
 public:
  ~Taker() { CloseAll(); }

  void Take(int fd) {
    absl::MutexLock lock(&mutex_);
    taken_.push_back(fd);
  }
  void AwaitCount(size_t count) {
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return taken_.size() >= count; };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&there));
  }
  void CloseAll() {
    absl::MutexLock lock(&mutex_);
    for (const int fd : taken_) close(fd);
    taken_.clear();
  }

 private:
  absl::Mutex mutex_;
  std::vector<int> taken_ ABSL_GUARDED_BY(mutex_);
};

Listener::Options OptionsOf(const std::string& host, int port = 0) {
  Listener::Options options;
  options.address = {host, port};
  options.log = MakeSilentLogger();
  return options;
}

TEST(ListenerTest, Addresses) {
  const bool has_ipv6 = HasIpv6();
  const struct {
    const char* host;
    bool ipv4, ipv6;
  } rows[] = {{"127.0.0.1", true, false},
              {"::1", false, true},
              {"0.0.0.0", true, true},
              {"::", true, true},
              {"localhost", true, false}};
  for (const auto& row : rows) {
    if (!has_ipv6 && !row.ipv4) continue;
    Taker taker;
    ASSERT_OK_AND_ASSIGN(const auto listener, Listener::Open(OptionsOf(row.host)));
    listener->Accept([&](int fd) { taker.Take(fd); });
    size_t count = 0;
    if (row.ipv4) {
      const int fd = Connect(listener->port(), false);
      EXPECT_GE(fd, 0) << row.host;
      taker.AwaitCount(++count);
      close(fd);
    }
    if (row.ipv6 && has_ipv6) {
      const int fd = Connect(listener->port(), true);
      EXPECT_GE(fd, 0) << row.host;
      taker.AwaitCount(++count);
      close(fd);
    }
    listener->Stop();
    EXPECT_LT(Connect(listener->port(), !row.ipv4), 0) << row.host;
  }
}

TEST(ListenerTest, DoesNotShareAPortInUse) {
  for (const char* first : {"127.0.0.1", "0.0.0.0"}) {
    ASSERT_OK_AND_ASSIGN(const auto listener, Listener::Open(OptionsOf(first)));
    for (const char* second : {"127.0.0.1", "0.0.0.0", "localhost"}) {
      EXPECT_THAT(Listener::Open(OptionsOf(second, listener->port())),
                  StatusIs(absl::StatusCode::kUnavailable,
                           AllOf(HasSubstr("cannot listen on"), HasSubstr("Address already in use"),
                                 HasSubstr("--listen="))))
          << first << " " << second;
    }
  }
}

TEST(ListenerTest, RefusesAddressesOfOtherMachines) {
  for (const char* host : {"192.0.2.1", "2001:db8::1", "nowhere.invalid"}) {
    EXPECT_THAT(Listener::Open(OptionsOf(host)), StatusIs(absl::StatusCode::kUnavailable)) << host;
  }
}

// With a limit below the number of connections: those beyond it are closed, and later ones are
// accepted.
TEST(ListenerTest, RecoversFromAShortageOfDescriptors) {
  constexpr int kConnections = 40;
  for (const int reserve : {10, 1}) {
    std::vector<int> clients;
    Taker taker;
    Listener::Options options = OptionsOf("127.0.0.1");
    options.reserve = reserve;
    ASSERT_OK_AND_ASSIGN(const auto listener, Listener::Open(std::move(options)));
    clients.reserve(kConnections);
    for (int i = 0; i < kConnections; ++i) clients.push_back(Connect(listener->port(), false));
    rlimit before = {};
    getrlimit(RLIMIT_NOFILE, &before);
    // The clients' descriptors belong to this process, too: a few more are left for the other ends.
    rlimit limit = before;
    limit.rlim_cur = clients.back() + 5 + reserve;
    setrlimit(RLIMIT_NOFILE, &limit);
    listener->Accept([&](int fd) { taker.Take(fd); });
    taker.AwaitCount(4);
    char byte = 0;
    EXPECT_LE(recv(clients.back(), &byte, 1, 0), 0);  // closed by the listener
    for (const int fd : clients) close(fd);
    taker.CloseAll();
    const int client = Connect(listener->port(), false);
    EXPECT_GE(client, 0);
    taker.AwaitCount(1);
    setrlimit(RLIMIT_NOFILE, &before);
    close(client);
  }
}

// accept() itself fails: queued connections are accepted when descriptors are available again.
TEST(ListenerTest, AcceptsQueuedConnectionsLater) {
  Taker taker;
  ASSERT_OK_AND_ASSIGN(const auto listener, Listener::Open(OptionsOf("127.0.0.1")));
  // Start the thread before the shortage: the sanitizers need descriptors then.
  const int first = Connect(listener->port(), false);
  listener->Accept([&](int fd) { taker.Take(fd); });
  taker.AwaitCount(1);
  const int second = socket(AF_INET, SOCK_STREAM, 0);
  rlimit before = {};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit limit = before;
  limit.rlim_cur = 3;
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(ConnectSocket(second, listener->port(), false), 0);
  setrlimit(RLIMIT_NOFILE, &before);
  taker.AwaitCount(2);
  close(first);
  close(second);
}

}  // namespace
}  // namespace percentdelta
