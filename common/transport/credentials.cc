// SPDX-License-Identifier: Apache-2.0

#include "common/transport/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/errno_status.h"
#include "common/base/role.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/transport/connection_diagnosis.h"

namespace percentdelta {
namespace {

constexpr unsigned kRefreshSeconds = 1;
constexpr size_t kMinTokenBytes = 16;
constexpr size_t kMaxTokenBytes = 1000;

// Checks the server's certificate once more, after its signature and times: by host and by role.
class ServerVerifier : public grpc::experimental::ExternalCertificateVerifier {
 public:
  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> /*callback*/, grpc::Status* status) override {
    const grpc::string_ref target = request->target_name();
    const grpc::string_ref pem = request->peer_cert();
    const absl::Status checked =
        CheckServerCertificate({pem.data(), pem.size()}, {target.data(), target.size()});
    if (!checked.ok()) {
      *status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, std::string(checked.message()));
    }
    return true;  // has set *status, and never calls the callback
  }
  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest* /*request*/) override {}
};

// Adds the token to every call.
class TokenPlugin : public grpc::MetadataCredentialsPlugin {
 public:
  explicit TokenPlugin(absl::string_view token) : value_(absl::StrCat("Bearer ", token)) {}

  bool IsBlocking() const override { return false; }
  grpc::Status GetMetadata(grpc::string_ref /*service_url*/, grpc::string_ref /*method_name*/,
                           const grpc::AuthContext& /*channel_auth_context*/,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    metadata->emplace("authorization", value_);
    return grpc::Status::OK;
  }
  grpc::string DebugString() override { return "TokenPlugin"; }  // without the token

 private:
  const std::string value_;
};

std::shared_ptr<grpc::ChannelCredentials> MakeTls(const TlsFiles& files) {
  using grpc::experimental::FileWatcherCertificateProvider;
  const bool has_certificate = !files.cert.empty();
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      has_certificate
          ? std::make_shared<FileWatcherCertificateProvider>(files.key, files.cert, files.ca,
                                                             kRefreshSeconds)
          : std::make_shared<FileWatcherCertificateProvider>(files.ca, kRefreshSeconds));
  options.watch_root_certs();
  if (has_certificate) options.watch_identity_key_cert_pairs();
  options.set_certificate_verifier(
      grpc::experimental::ExternalCertificateVerifier::Create<ServerVerifier>());
  options.set_check_call_host(false);  // the verifier has checked the channel's, and calls set none
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ClientCredentials>> ClientCredentials::Make(
    ClientSecurity security) {
  const std::string token_file = security.token_file;
  const bool has_tls = security.tls.given();
  if (has_tls) {
    RETURN_IF_ERROR(CheckTlsFiles(security.tls, token_file.empty(), absl::Now()));
  }
  std::shared_ptr<ClientCredentials> result(new ClientCredentials(std::move(security)));
  if (has_tls) {
    result->channel_ = MakeTls(result->security_.tls);
  } else if (token_file.empty()) {
    result->channel_ = grpc::InsecureChannelCredentials();
  } else {
    // Plaintext that fails if the connection leaves this machine.
    result->channel_ = grpc::experimental::LocalCredentials(LOCAL_TCP);
  }
  if (!token_file.empty()) {
    ASSIGN_OR_RETURN(const std::string token, ReadToken(token_file));
    // Which connections may carry it is checked by address (CheckSecurityOf).
    result->channel_ = grpc::CompositeChannelCredentials(
        result->channel_, grpc::experimental::MetadataCredentialsFromPlugin(
                              std::make_unique<TokenPlugin>(token), GRPC_SECURITY_NONE));
  }
  return std::shared_ptr<const ClientCredentials>(std::move(result));
}

const ClientSecurity& SecurityOf(const std::shared_ptr<const ClientCredentials>& credentials) {
  static const auto* const kDefault = new ClientSecurity;
  return credentials == nullptr ? *kDefault : credentials->security();
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  const auto invalid = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("token_file: ", EscapeForLog(path, kMaxNameBytes), ": ", what));
  };
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return invalid(ErrnoMessage(errno));
  std::string token{std::istreambuf_iterator<char>(file), {}};
  absl::StripAsciiWhitespace(&token);
  const bool is_text =
      token.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/.~") ==
      std::string::npos;
  if (!is_text || token.size() < kMinTokenBytes || token.size() > kMaxTokenBytes) {
    return invalid("expected one token, as \"pdctl token\" makes it, got something else");
  }
  return token;
}

absl::Status ExplainUnavailable(const absl::Status& status, const std::string& address,
                                const std::shared_ptr<const ClientCredentials>& credentials) {
  if (!absl::IsUnavailable(status)) return status;
  const std::string reason = DiagnoseConnection(address, SecurityOf(credentials));
  if (reason.empty()) return status;
  return absl::UnavailableError(absl::StrCat(reason, " (", status.message(), ")"));
}

}  // namespace percentdelta
