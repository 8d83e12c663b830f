// SPDX-License-Identifier: Apache-2.0

#include "common/base/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Labels(int count, int size) {
  std::string name;
  for (int i = 0; i < count; ++i) name += (i > 0 ? "." : "") + std::string(size, 'a');
  return name;
}

TEST(AddressTest, ParsesHostsAndPorts) {
  const struct {
    std::string text;
    HostPort expected;
  } rows[] = {
      {"127.0.0.1:5000", {"127.0.0.1", 5000}},
      {"0.0.0.0:1", {"0.0.0.0", 1}},
      {"localhost:65535", {"localhost", 65535}},
      {"server-0.cluster.local:5000", {"server-0.cluster.local", 5000}},
      {"pd_server_1:5000", {"pd_server_1", 5000}},
      {"host.example.:5000", {"host.example.", 5000}},
      {"1a:5000", {"1a", 5000}},
      {"dns.example:5000", {"dns.example", 5000}},
      {"[::1]:5000", {"::1", 5000}},
      {"[::]:5000", {"::", 5000}},
      {"[2001:db8::1]:5000", {"2001:db8::1", 5000}},
      {"[::ffff:10.0.0.1]:5000", {"::ffff:10.0.0.1", 5000}},
      {"[fe80::1%eth0]:5000", {"fe80::1%eth0", 5000}},
      {Labels(4, 62) + ":1", {Labels(4, 62), 1}},
  };
  for (const auto& row : rows) {
    ASSERT_OK_AND_ASSIGN(const HostPort parsed, ParseHostPort("x", row.text));
    EXPECT_EQ(parsed.host, row.expected.host);
    EXPECT_EQ(parsed.port, row.expected.port) << row.text;
    EXPECT_EQ(ToString(parsed), row.text);
  }
}

TEST(AddressTest, RejectsEverythingElse) {
  const std::vector<std::string> rows = {
      "", ":", ":5000", "host", "host:", "5000", "*:5000", "[]:5000", "[host]:5000",
      // gRPC's schemes and URLs.
      "unix:/tmp/socket", "unix:socket", "unix:///tmp/s:1", "unix-abstract:name", "xds:///host:1",
      "xds:host", "fd:3", "FD:3", "unix:5", "dns:5000", "ipv4:5", "vsock:1:2",
      "fd:", "dns:///host:1", "dns://8.8.8.8/host:1", "dns:host:1", "ipv4:1.2.3.4:5",
      "ipv6:[::1]:5", "http://host:80", "https://host", "http://host:80/path",
      // Parts of URLs.
      "user@host:1", "user:word@host:1", "host:1/path", "host/path:1", "host:1?query", "host:1#a",
      "host:1,other:2", "host:1=other:2",
      // Ports.
      "host:0", "host:65536", "host:99999999999", "host:+5", "host:-5", "host:05", "host:5.0",
      "host:0x5", "host: 5", "host:5 ", "host:http", "host:5\n", "[::1]:05",
      // Characters.
      " host:1", "ho st:1", "host\t:1", "host\n:1", std::string("ho\0st:1", 7),
      std::string("host:1\0", 7), std::string("[::1\0]:1", 8), "h\x1b[31mst:1", "h\xc3\xb6st:1",
      "h%20st:1", "host\\:1", "\"host\":1", "host;x:1",
      // Names.
      ".:1", ".host:1", "a..b:1", "-host:1", "host-:1", "a.-b:1", Labels(1, 64) + ":1",
      Labels(4, 63) + ".a:1", std::string(100000, 'a') + ":1",
      // Numbers that are not IPv4 addresses, but that some parsers accept as such.
      "0:5000", "1:5000", "127.1:5000", "1.2.3:5000", "1.2.3.4.5:5000", "1.2.3.256:5000",
      "01.2.3.4:5000", "1.2.3.4.:5000", "0x0:5000", "0x7f.0.0.1:5000", "host.1:5000",
      // IPv6.
      "::1:5000", "::1", "[::1]", "[::1]5000", "[::1:5000", "::1]:5000", "[:::1]:5000",
      "[1.2.3.4]:5000", "[[::1]]:5000", "[::1%]:5000", "[::1%a b]:5000", "[::1%a/b]:5000",
      "x[::1]:5000"};
  for (const std::string& row : rows) {
    EXPECT_FALSE(IsHostAndPort(row)) << row.substr(0, 100);
    const absl::Status status = CheckHostAndPort("--flag", row);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument)) << row.substr(0, 100);
    const std::string message(status.message());
    EXPECT_THAT(message, AllOf(HasSubstr("--flag: expected HOST:PORT"), HasSubstr("got \"")));
    EXPECT_THAT(message, AllOf(Not(HasSubstr("\n")), Not(HasSubstr("\x1b"))));
    EXPECT_LT(message.size(), 700U);
  }
}

TEST(AddressTest, PortZeroWhereItIsAllowed) {
  EXPECT_TRUE(IsHostAndPort("host:0", 0));
  EXPECT_FALSE(IsHostAndPort("host:00", 0));
  EXPECT_EQ(WithPort("host:0", 7), "host:7");
  EXPECT_EQ(WithPort("[::1]:0", 7), "[::1]:7");
  EXPECT_EQ(WithPort("host:5", 7), "host:5");
  EXPECT_EQ(WithPort("host:10", 7), "host:10");
}

TEST(AddressTest, AdvertisedAddressesCanBeConnectedTo) {
  for (const char* address :
       {"host:1", "127.0.0.1:1", "10.0.0.1:1", "[::1]:1", "[2001:db8::1]:1"}) {
    EXPECT_OK(CheckAdvertised("x", address)) << address;
  }
  for (const char* address :
       {"*:5000", "0:5000", "0.0.0.0:5000", "0.1.2.3:5000", "[::]:5000", "[0:0::0]:5000",
        "[::ffff:0.0.0.0]:5000", "[::%eth0]:5000", "255.255.255.255:5000", "224.0.0.1:5000",
        "[ff02::1]:5000", "host:0", ""}) {
    const absl::Status status = CheckAdvertised("--advertise", address);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--advertise")))
        << address;
  }
}

TEST(AddressTest, Loopback) {
  for (const char* host : {"127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "localhost",
                           "LOCALHOST.", "a.localhost"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host : {"128.0.0.1", "0.0.0.0", "::", "::2", "host", "localhost.example"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

}  // namespace
}  // namespace percentdelta
