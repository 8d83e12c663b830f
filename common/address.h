// Network addresses as flags and jobs have them.

#ifndef PERCENTDELTA_COMMON_ADDRESS_H_
#define PERCENTDELTA_COMMON_ADDRESS_H_

#include <cstddef>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

// "HOST:PORT" with a port of `lowest_port`..65535; "[::1]:5000" for IPv6. Whether there is such a
// host is not looked at.
inline bool IsHostAndPort(absl::string_view address, int lowest_port = 1) {
  const size_t colon = address.rfind(':');
  int port = 0;
  return colon != absl::string_view::npos && colon > 0 &&
         absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= lowest_port &&
         port <= 65535;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_ADDRESS_H_
