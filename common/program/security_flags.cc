// SPDX-License-Identifier: Apache-2.0

#include "common/program/security_flags.h"

#include <string>

#include "absl/flags/flag.h"

ABSL_FLAG(std::string, tls_ca, "", "PEM file of the CA that has signed the cluster's certificates");
ABSL_FLAG(std::string, tls_cert, "",
          "PEM file of this process's certificate, which names its role (docs/security.md); read "
          "again when it changes");
ABSL_FLAG(std::string, tls_key, "", "PEM file of the certificate's private key, unencrypted");

namespace percentdelta {

TlsFiles TlsFilesFromFlags() {
  return {absl::GetFlag(FLAGS_tls_ca), absl::GetFlag(FLAGS_tls_cert), absl::GetFlag(FLAGS_tls_key)};
}

}  // namespace percentdelta
