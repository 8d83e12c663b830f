// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
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

// Connects from another address of this machine, 127.0.0.2.
UniqueDescriptor ConnectFromElsewhere(int port) {
  UniqueDescriptor socket(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  EXPECT_EQ(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(ConnectSocket(socket.get(), port, false), 0);
  return socket;
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
  size_t count() const {
    absl::MutexLock lock(&mutex_);
    return taken_.size();
  }
  void CloseAll() {
    absl::MutexLock lock(&mutex_);
    for (const int fd : taken_) close(fd);
    taken_.clear();
  }

 private:
  mutable absl::Mutex mutex_;
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

// Opens connections from 127.0.0.1 up to a limit, which `set` sets, and some more. Returns whether
// one from elsewhere is still let in, and what was logged.
std::pair<bool, std::string> ReachLimit(const std::function<void(Listener::Options&, int)>& set) {
  constexpr int kLimit = 3;
  std::ostringstream out;
  Taker taker;
  Listener::Options options = OptionsOf("127.0.0.1");
  set(options, kLimit);
  options.log =
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::ostream_sink_mt>(out));
  absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Open(std::move(options));
  EXPECT_OK(listener);
  (*listener)->Accept([&](int fd) { taker.Take(fd); });
  const int port = (*listener)->port();
  std::vector<UniqueDescriptor> clients;
  clients.reserve(kLimit);
  for (int i = 0; i < kLimit; ++i) clients.emplace_back(Connect(port, false));
  taker.AwaitCount(kLimit);
  char byte = 0;
  for (int i = 0; i < 5; ++i) {
    const UniqueDescriptor refused(Connect(port, false));
    EXPECT_LE(recv(refused.get(), &byte, 1, 0), 0);  // closed by the listener
  }
  for (const UniqueDescriptor& client : clients) {
    EXPECT_EQ(recv(client.get(), &byte, 1, MSG_DONTWAIT), -1);  // open
    EXPECT_EQ(errno, EAGAIN);
  }
  const UniqueDescriptor elsewhere = ConnectFromElsewhere(port);
  pollfd waits = {elsewhere.get(), POLLIN, 0};
  const auto ended = [&] { return poll(&waits, 1, 0) != 0; };
  while (!ended() && taker.count() == kLimit) absl::SleepFor(absl::Milliseconds(1));
  const bool let_in = !ended();
  (*listener)->Stop();  // so that the log can be read
  return {let_in, out.str()};
}

TEST(ListenerTest, LimitsTheConnections) {
  const auto [let_in, log] = ReachLimit([](Listener::Options& options, int limit) {
    options.max_connections = limit;
    options.max_connections_per_address = 100;
  });
  EXPECT_FALSE(let_in);
  EXPECT_THAT(log, HasSubstr("too many connections, refusing connections limit=3 error=\"the limit "
                             "is reached\" advice=\"raise the limit with --limits=connections=\""));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

// One address cannot take the places of the others.
TEST(ListenerTest, LimitsTheConnectionsOfOneAddress) {
  const auto [let_in, log] = ReachLimit([](Listener::Options& options, int limit) {
    options.max_connections = 100;
    options.max_connections_per_address = limit;
  });
  EXPECT_TRUE(let_in);
  EXPECT_THAT(log, HasSubstr("too many connections from ipv4:127.0.0.1, refusing connections "
                             "limit=3 error=\"the limit is reached\" advice=\"raise the limit with "
                             "--limits=connections_per_address=\""));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
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
