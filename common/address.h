// Network addresses as flags and jobs have them.

#ifndef PERCENTDELTA_COMMON_ADDRESS_H_
#define PERCENTDELTA_COMMON_ADDRESS_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// "HOST:PORT" with a port of `lowest_port`..65535; "[::1]:5000" for IPv6. Whether there is such a
// host is not looked at.
inline bool IsHostAndPort(absl::string_view address, int lowest_port = 1) {
  const size_t colon = address.rfind(':');
  int port = 0;
  return colon != absl::string_view::npos && colon > 0 &&
         absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= lowest_port && port <= 65535;
}

// kInvalidArgument, with `name` in the message, if it is none.
inline absl::Status CheckHostAndPort(absl::string_view name, absl::string_view address,
                                     int lowest_port = 1) {
  if (IsHostAndPort(address, lowest_port)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": expected HOST:PORT, as in 127.0.0.1:5000, got \"", address, "\""));
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_ADDRESS_H_
