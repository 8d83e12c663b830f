// SPDX-License-Identifier: Apache-2.0

// Finds out why a connection fails. gRPC reports a failed TLS handshake like a server that is not
// there, or by OpenSSL's name for it. On OpenSSL.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_CONNECTION_DIAGNOSIS_H_
#define PERCENTDELTA_COMMON_TRANSPORT_CONNECTION_DIAGNOSIS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/base/client_security.h"

namespace percentdelta {

// Whether a certificate that a CA has signed is a server's, and for the host of `target`, HOST or
// HOST:PORT. Returns kPermissionDenied, saying what it is for, if it is not.
absl::Status CheckServerCertificate(absl::string_view pem, absl::string_view target);

// Connects to `address` once, and returns in one sentence what is wrong with TLS: the server speaks
// plaintext, or TLS to a client that does not; its certificate has expired, is not signed by our
// CA, or names other hosts; it refuses ours. Returns "" if none of these is the reason. Blocks for
// at most about two seconds.
std::string DiagnoseConnection(const std::string& address, const ClientSecurity& security);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_CONNECTION_DIAGNOSIS_H_
