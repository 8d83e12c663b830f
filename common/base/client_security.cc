// SPDX-License-Identifier: Apache-2.0

#include "common/base/client_security.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"

namespace percentdelta {

absl::Status CheckSecurityOf(absl::string_view name, absl::string_view address,
                             const ClientSecurity& security) {
  if (security.tls.given()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(name, address));
  if (IsLoopback(parsed.host)) return absl::OkStatus();
  if (!security.token_file.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", ToString(parsed),
                     " is not a loopback address: expected tls_ca, "
                     "so that the token of token_file is encrypted, got none"));
  }
  if (security.insecure) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": ", ToString(parsed),
      " is not a loopback address: expected tls_ca, tls_cert and "
      "tls_key, or insecure for a connection that everybody on the way can read and change, got "
      "neither"));
}

}  // namespace percentdelta
