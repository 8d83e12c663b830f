// SPDX-License-Identifier: Apache-2.0

#include "common/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxName = 253;  // RFC 1035, without the last dot
constexpr size_t kMaxLabel = 63;
constexpr size_t kMaxQuoted = 100;

using Ipv4 = std::array<uint8_t, 4>;
using Ipv6 = std::array<uint8_t, 16>;

std::optional<Ipv4> ParseIpv4(absl::string_view host) {
  Ipv4 bytes;
  if (inet_pton(AF_INET, std::string(host).c_str(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

// Ignores a zone.
std::optional<Ipv6> ParseIpv6(absl::string_view host) {
  Ipv6 bytes;
  const std::string address(host.substr(0, host.find('%')));
  if (inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

// The IPv4 address in ::ffff:a.b.c.d.
std::optional<Ipv4> MappedIpv4(const Ipv6& bytes) {
  constexpr std::array<uint8_t, 12> kPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!std::equal(kPrefix.begin(), kPrefix.end(), bytes.begin())) return std::nullopt;
  return Ipv4{bytes[12], bytes[13], bytes[14], bytes[15]};
}

bool IsLabelCharacter(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_'; }

bool IsLabel(absl::string_view label) {
  return !label.empty() && label.size() <= kMaxLabel &&
         std::all_of(label.begin(), label.end(), IsLabelCharacter) && label.front() != '-' &&
         label.back() != '-';
}

// Whether the C library would parse it as a number: it takes "0" for 0.0.0.0 and "127.1" for
// 127.0.0.1.
bool IsNumber(absl::string_view label) {
  if (absl::StartsWithIgnoreCase(label, "0x")) {
    return std::all_of(label.begin() + 2, label.end(), absl::ascii_isxdigit);
  }
  return std::all_of(label.begin(), label.end(), absl::ascii_isdigit);
}

bool IsZone(absl::string_view zone) {
  return !zone.empty() && zone.size() < 64 && std::all_of(zone.begin(), zone.end(), [](char c) {
    return IsLabelCharacter(c) || c == '.' || c == ':';
  });
}

// Whether gRPC would not resolve a host of this name. ("unix:5000" is a file.)
bool IsScheme(absl::string_view host) {
  for (const absl::string_view scheme :
       {"unix", "unix-abstract", "vsock", "fd", "ipv4", "ipv6", "dns", "xds", "google-c2p"}) {
    if (absl::EqualsIgnoreCase(host, scheme)) return true;
  }
  return false;
}

// Returns the reason why a host without brackets is invalid; empty: it is valid.
std::string CheckName(absl::string_view host) {
  if (host.empty()) return "the host is empty";
  if (host == "*") return "\"*\" is not a host; 0.0.0.0 listens on all interfaces";
  if (IsScheme(host)) return absl::StrCat("\"", host, "\" is a scheme, not a host");
  if (absl::StrContains(host, ':')) return "an IPv6 address needs brackets, as in [::1]:5000";
  absl::string_view name = host;
  if (name.size() > 1 && name.back() == '.') name.remove_suffix(1);
  if (name.size() > kMaxName) return absl::StrCat("the host is longer than ", kMaxName);
  const std::vector<absl::string_view> labels = absl::StrSplit(name, '.');
  if (!std::all_of(labels.begin(), labels.end(), IsLabel)) {
    return "a host has labels of letters, digits, \"-\" and \"_\" with dots between them";
  }
  if (IsNumber(labels.back()) && !ParseIpv4(host)) {
    return "an IPv4 address has four numbers of 0..255, as in 127.0.0.1";
  }
  return "";
}

// The same for the text between brackets.
std::string CheckBracketed(absl::string_view host) {
  const size_t percent = host.find('%');
  if (!ParseIpv6(host) || host.find('\0') != absl::string_view::npos) {
    return "brackets hold an IPv6 address, as in [::1]:5000";
  }
  if (percent != absl::string_view::npos && !IsZone(host.substr(percent + 1))) {
    return "the zone after % is not the name of a network interface";
  }
  return "";
}

bool IsPort(absl::string_view text, int lowest_port, int& port) {
  const bool digits = !text.empty() && text.size() <= 5 &&
                      std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  if (!digits || (text.size() > 1 && text.front() == '0')) return false;
  return absl::SimpleAtoi(text, &port) && port >= lowest_port && port <= 65535;
}

// Returns the reason why `address` is invalid; empty: it is valid.
std::string Parse(absl::string_view address, int lowest_port, HostPort& result) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || absl::EndsWith(address, "]")) return "there is no port";
  if (absl::StrContains(address, "://")) return "a scheme is not accepted";
  absl::string_view host = address.substr(0, colon);
  const bool brackets = host.size() > 1 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  std::string wrong = brackets ? CheckBracketed(host) : CheckName(host);
  if (!wrong.empty()) return wrong;
  if (!IsPort(address.substr(colon + 1), lowest_port, result.port)) {
    return absl::StrCat("a port is a number of ", lowest_port, "..65535");
  }
  result.host = std::string(host);
  return "";
}

std::string Quoted(absl::string_view address) {
  const bool cut = address.size() > kMaxQuoted;
  return absl::StrCat("\"", absl::CHexEscape(address.substr(0, kMaxQuoted)), cut ? "..." : "",
                      "\"");
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(absl::string_view name, absl::string_view address,
                                       int lowest_port) {
  HostPort result;
  const std::string wrong = Parse(address, lowest_port, result);
  if (wrong.empty()) return result;
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": expected HOST:PORT, as in 127.0.0.1:5000, got ", Quoted(address), ": ", wrong));
}

bool IsHostAndPort(absl::string_view address, int lowest_port) {
  HostPort result;
  return Parse(address, lowest_port, result).empty();
}

absl::Status CheckHostAndPort(absl::string_view name, absl::string_view address, int lowest_port) {
  return ParseHostPort(name, address, lowest_port).status();
}

absl::Status CheckAdvertised(absl::string_view name, absl::string_view address, int lowest_port) {
  ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(name, address, lowest_port));
  std::optional<Ipv4> ipv4 = ParseIpv4(parsed.host);
  const std::optional<Ipv6> ipv6 = ParseIpv6(parsed.host);
  if (ipv6) ipv4 = MappedIpv4(*ipv6);
  const bool is_group = (ipv4 && (*ipv4)[0] >= 224) || (ipv6 && (*ipv6)[0] == 0xff);
  const bool is_this_network = ipv4 && (*ipv4)[0] == 0;
  if (!IsWildcard(parsed.host) && !is_group && !is_this_network) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": expected a HOST:PORT that others can connect to, got ", Quoted(address),
                   ", which is ", is_group ? "a group of machines" : "every interface",
                   "; give this machine's name or address"));
}

bool IsLoopback(absl::string_view host) {
  std::optional<Ipv4> ipv4 = ParseIpv4(host);
  if (const std::optional<Ipv6> ipv6 = ParseIpv6(host)) {
    Ipv6 loopback = {};
    loopback[15] = 1;
    if (*ipv6 == loopback) return true;
    ipv4 = MappedIpv4(*ipv6);
  }
  if (ipv4) return (*ipv4)[0] == 127;
  if (absl::EndsWith(host, ".")) host.remove_suffix(1);
  return absl::EqualsIgnoreCase(host, "localhost") || absl::EndsWithIgnoreCase(host, ".localhost");
}

bool IsWildcard(absl::string_view host) {
  std::optional<Ipv4> ipv4 = ParseIpv4(host);
  if (const std::optional<Ipv6> ipv6 = ParseIpv6(host)) {
    if (*ipv6 == Ipv6{}) return true;
    ipv4 = MappedIpv4(*ipv6);
  }
  return ipv4 == Ipv4{};
}

std::string ToString(const HostPort& address) {
  const bool is_ipv6 = absl::StrContains(address.host, ':');
  return absl::StrCat(is_ipv6 ? "[" : "", address.host, is_ipv6 ? "]:" : ":", address.port);
}

std::string WithPort(const std::string& address, int port) {
  absl::StatusOr<HostPort> parsed = ParseHostPort("", address, 0);
  if (!parsed.ok() || parsed->port != 0) return address;
  parsed->port = port;
  return ToString(*parsed);
}

}  // namespace percentdelta
