// SPDX-License-Identifier: Apache-2.0

// How secure the connections of a client are to be.

#ifndef PERCENTDELTA_COMMON_BASE_CLIENT_SECURITY_H_
#define PERCENTDELTA_COMMON_BASE_CLIENT_SECURITY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/base/certificate.h"

namespace percentdelta {

struct ClientSecurity {
  TlsFiles tls = {};            // none: plaintext. Without a certificate, a token says who calls
  std::string token_file = {};  // that contains this process's token; empty: none
  bool insecure = false;        // plaintext may leave the machine
};

// Whether a connection to `address` (HOST:PORT) is allowed. Returns kInvalidArgument, naming
// `name`, for a plaintext connection to another machine, unless `insecure`, and for one that would
// carry a token.
absl::Status CheckSecurityOf(absl::string_view name, absl::string_view address,
                             const ClientSecurity& security);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_CLIENT_SECURITY_H_
