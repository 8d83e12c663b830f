// SPDX-License-Identifier: Apache-2.0

// What an X.509 certificate says, and whether a program's TLS files can work. On OpenSSL.

#ifndef PERCENTDELTA_COMMON_BASE_CERTIFICATE_H_
#define PERCENTDELTA_COMMON_BASE_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace percentdelta {

// PEM files of one process.
struct TlsFiles {
  std::string ca = {};    // the certificates whose signatures are trusted
  std::string cert = {};  // this process's certificate, followed by intermediate ones
  std::string key = {};   // its private key, unencrypted

  bool given() const { return !ca.empty() || !cert.empty() || !key.empty(); }
};

// The files ca.pem, NAME.pem and NAME.key of a directory, as deploy/tls/make-certs writes them.
TlsFiles TlsFilesIn(const std::string& directory, const std::string& name);

struct Certificate {
  std::string spiffe_id;           // its only URI name; empty: it has none, or several
  std::vector<std::string> names;  // DNS names and IP addresses
  absl::Time not_before;
  absl::Time not_after;
};

// Reads the first certificate of a PEM text. Returns kInvalidArgument if there is none.
absl::StatusOr<Certificate> ParseCertificate(absl::string_view pem);

// Whether the certificate is for `host`, a DNS name or an IP address without brackets. Returns
// kPermissionDenied, naming the names that it is for, if it is not.
absl::Status CheckCertificateName(absl::string_view pem, const std::string& host);

// Checks the files: all are given (without `needs_certificate`, `ca` alone will do), readable and
// PEM, the key is the certificate's, the certificate is signed by the CA and valid at `now`.
// Returns kInvalidArgument, naming the option (tls_ca, tls_cert, tls_key), the file and what to do.
absl::Status CheckTlsFiles(const TlsFiles& files, bool needs_certificate, absl::Time now);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_CERTIFICATE_H_
