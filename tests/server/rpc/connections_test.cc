// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/connections.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/descriptors.h"

namespace percentdelta {
namespace {

int PortOf(const UniqueDescriptor& socket) {
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  EXPECT_EQ(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

// A port of 127.0.0.1, and connections to it.
class ConnectionsTest : public testing::Test {
 protected:
  ConnectionsTest() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address_), sizeof(address_)), 0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
    address_.sin_port = htons(static_cast<uint16_t>(PortOf(listener_)));
  }

  UniqueDescriptor Connect() {
    UniqueDescriptor client(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address_), sizeof(address_)), 0);
    return client;
  }
  UniqueDescriptor Accept() { return UniqueDescriptor(accept(listener_.get(), nullptr, nullptr)); }
  int port() const { return ntohs(address_.sin_port); }

 private:
  sockaddr_in address_ = {};
  const UniqueDescriptor listener_;
};

TEST_F(ConnectionsTest, CountsThoseThatWereAccepted) {
  EXPECT_EQ(CountConnections(port()).total, 0);
  const UniqueDescriptor first = Connect();
  const UniqueDescriptor second = Connect();
  EXPECT_EQ(CountConnections(port()).total, 0);
  const UniqueDescriptor accepted = Accept();
  {
    const UniqueDescriptor other = Accept();
    EXPECT_EQ(CountConnections(port()).total, 2);
  }
  EXPECT_EQ(CountConnections(port()).total, 1);
}

TEST_F(ConnectionsTest, ListsTheirTraffic) {
  const UniqueDescriptor client = Connect();
  const UniqueDescriptor accepted = Accept();
  EXPECT_EQ(send(client.get(), "12345", 5, 0), 5);
  EXPECT_EQ(send(accepted.get(), "123", 3, 0), 3);
  const std::vector<ConnectionTraffic> traffic = ListTraffic(port());
  ASSERT_EQ(traffic.size(), 1);
  EXPECT_EQ(traffic[0].peer, absl::StrCat("ipv4:127.0.0.1:", PortOf(client)));
  EXPECT_EQ(traffic[0].received, 5);
  EXPECT_EQ(traffic[0].sent, 3);
  EXPECT_EQ(traffic[0].unread, 5);
  char byte = 0;
  EXPECT_EQ(recv(accepted.get(), &byte, 1, 0), 1);
  ASSERT_EQ(ListTraffic(port()).size(), 1);
  EXPECT_EQ(ListTraffic(port())[0].unread, 4);
  EXPECT_TRUE(ListTraffic(1).empty());
}

TEST_F(ConnectionsTest, ShutsDownTheOneThatIsNamed) {
  const UniqueDescriptor first = Connect();
  const UniqueDescriptor first_accepted = Accept();
  const UniqueDescriptor second = Connect();
  const UniqueDescriptor second_accepted = Accept();
  const std::string peer = absl::StrCat("ipv4:127.0.0.1:", PortOf(first));
  EXPECT_FALSE(ShutDownConnection(port(), "ipv4:127.0.0.1:1"));
  EXPECT_FALSE(ShutDownConnection(PortOf(first), peer));
  EXPECT_TRUE(ShutDownConnection(port(), peer));
  char byte = 0;
  EXPECT_EQ(recv(first.get(), &byte, 1, 0), 0);  // its end
  EXPECT_EQ(send(second_accepted.get(), "x", 1, 0), 1);
  EXPECT_EQ(recv(second.get(), &byte, 1, 0), 1);
}

}  // namespace
}  // namespace percentdelta
