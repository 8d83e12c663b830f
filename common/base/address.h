// SPDX-License-Identifier: Apache-2.0

// Network addresses in flags, jobs and messages: HOST:PORT and nothing else. gRPC would also accept
// "unix:/path", "xds:name", "fd:3" and other schemes; these are rejected here.

#ifndef PERCENTDELTA_COMMON_BASE_ADDRESS_H_
#define PERCENTDELTA_COMMON_BASE_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// A host without brackets (a name, an IPv4 or an IPv6 address) and a port.
struct HostPort {
  std::string host;
  int port = 0;
};

// Parses "HOST:PORT", "[IPV6]:PORT" or "[IPV6%ZONE]:PORT" with a port of `lowest_port`..65535. A
// name consists of labels of ASCII letters, digits, "-" and "_", has at most 253 characters, and
// does not end in a number: "0", "127.1" and "1.2.3.4.5" are not names, and four numbers must be an
// IPv4 address. It must not be one of gRPC's schemes. Does not check that the host exists.
//   kInvalidArgument  names `name` and the reason; quotes `address`, escaped and cut
absl::StatusOr<HostPort> ParseHostPort(absl::string_view name, absl::string_view address,
                                       int lowest_port = 1);

// Whether ParseHostPort succeeds.
bool IsHostAndPort(absl::string_view address, int lowest_port = 1);

// Returns kInvalidArgument, naming `name`, if `address` is not HOST:PORT.
absl::Status CheckHostAndPort(absl::string_view name, absl::string_view address,
                              int lowest_port = 1);

// Like CheckHostAndPort, but also requires a host that others can connect to: not the wildcard
// (0.0.0.0, [::]), not a broadcast or multicast address.
absl::Status CheckAdvertised(absl::string_view name, absl::string_view address,
                             int lowest_port = 1);

// For HostPort::host. Loopback: 127.0.0.0/8, ::1, "localhost" and names that end in ".localhost".
// Wildcard: all interfaces of a machine, 0.0.0.0 and ::.
bool IsLoopback(absl::string_view host);
bool IsWildcard(absl::string_view host);

// "HOST:PORT", with brackets around an IPv6 address.
std::string ToString(const HostPort& address);

// Replaces a port of 0 by `port`. Returns any other address unchanged.
std::string WithPort(const std::string& address, int port);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_ADDRESS_H_
