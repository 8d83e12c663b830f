// SPDX-License-Identifier: Apache-2.0

// How a process proves to servers who it is, and how it checks who they are.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_CREDENTIALS_H_
#define PERCENTDELTA_COMMON_TRANSPORT_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/client_security.h"

namespace percentdelta {

// Thread-safe, immutable. Where a pointer to credentials is null, connections are plaintext and
// reach loopback addresses only, which is also what default options make.
//
// With TLS, 1.2 or later, a server must present a certificate that the CA has signed, that names
// the host by which the server is called, and whose role is server: a worker whose host has several
// programs cannot pose as one. The files are read again, at most a second after they change; later
// connections use them.
class ClientCredentials {
 public:
  // Reads and checks the files. kInvalidArgument: see CheckTlsFiles and ReadToken.
  static absl::StatusOr<std::shared_ptr<const ClientCredentials>> Make(ClientSecurity security);

  const ClientSecurity& security() const { return security_; }
  const std::shared_ptr<grpc::ChannelCredentials>& channel() const { return channel_; }

 private:
  explicit ClientCredentials(ClientSecurity security) : security_(std::move(security)) {}

  const ClientSecurity security_;
  std::shared_ptr<grpc::ChannelCredentials> channel_;
};

// The security that `credentials`, which may be null, stand for.
const ClientSecurity& SecurityOf(const std::shared_ptr<const ClientCredentials>& credentials);

// Reads a token from its file, which contains nothing else. Returns kInvalidArgument, naming the
// option token_file and the file but never its contents.
absl::StatusOr<std::string> ReadToken(const std::string& path);

// Adds to a kUnavailable status why `address` could not be connected to, if TLS is the reason
// (connection_diagnosis.h): connects once more to find out. Returns any other status unchanged.
absl::Status ExplainUnavailable(const absl::Status& status, const std::string& address,
                                const std::shared_ptr<const ClientCredentials>& credentials);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_CREDENTIALS_H_
