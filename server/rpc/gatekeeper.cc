// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/gatekeeper.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <fstream>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "common/base/role.h"
#include "common/base/status_macros.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/access_policy.h"

namespace percentdelta {
namespace {

constexpr unsigned kRefreshSeconds = 1;

// Health and reflection: all other services are ours, and say which connections call them.
constexpr absl::string_view kLibraryServices = "/grpc.";

std::string TextOf(const grpc::string_ref& text) { return {text.data(), text.size()}; }

std::string PropertyOf(const grpc::AuthContext* context, const char* name) {
  if (context == nullptr) return "";
  const std::vector<grpc::string_ref> values = context->FindPropertyValues(name);
  return values.empty() ? "" : TextOf(values.front());
}

template <typename Metadata>
std::string ValueOf(const Metadata& metadata, const char* name) {
  const auto found = metadata.find(name);
  return found == metadata.end() ? "" : TextOf(found->second);
}

template <typename Metadata>
CallerFacts FactsOf(const grpc::AuthContext* context, const Metadata& metadata) {
  CallerFacts facts;
  facts.path = ValueOf(metadata, ":path");
  facts.authorization = ValueOf(metadata, "authorization");
  facts.spiffe_id = PropertyOf(context, GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
  facts.certificate = !PropertyOf(context, GRPC_X509_PEM_CERT_PROPERTY_NAME).empty();
  return facts;
}

// gRPC asks it about every call, on the thread that received it.
class Gatekeeper : public grpc::AuthMetadataProcessor {
 public:
  Gatekeeper(std::shared_ptr<const AccessPolicy> policy, Refusals refusals)
      : policy_(std::move(policy)), refusals_(std::move(refusals)) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* /*consumed*/, OutputMetadata* /*response*/) override {
    const CallerFacts facts = FactsOf(context, metadata);
    const absl::Status status = policy_->Check(facts);
    if (!status.ok()) refusals_.log->Write(facts.path, CallerName(facts), status);
    if (refusals_.watch != nullptr) {
      if (!status.ok()) {
        refusals_.watch->Refused();
      } else if (absl::StartsWith(facts.path, kLibraryServices)) {
        refusals_.watch->LetInElsewhere();
      }
    }
    return ToGrpc(status);
  }

 private:
  const std::shared_ptr<const AccessPolicy> policy_;
  const Refusals refusals_;
};

// The domain of the server's own certificate, which must be the shard's.
absl::StatusOr<std::string> OwnDomain(const TlsFiles& files, int shard) {
  std::ifstream file(files.cert, std::ios::binary);
  ASSIGN_OR_RETURN(const Certificate certificate,
                   ParseCertificate(std::string{std::istreambuf_iterator<char>(file), {}}));
  const absl::StatusOr<Principal> own = ParsePrincipal(certificate.spiffe_id);
  if (own.ok() && own->shard() == shard) return own->domain;
  return absl::InvalidArgumentError(absl::StrCat(
      "tls_cert: ", files.cert, ": expected the name spiffe://DOMAIN/percentdelta/server/shard-",
      shard, ", got ", certificate.spiffe_id.empty() ? "none" : certificate.spiffe_id,
      "; give each server the certificate of its own shard"));
}

std::shared_ptr<grpc::ServerCredentials> MakeTls(const TlsFiles& files, bool has_tokens) {
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<FileWatcherCertificateProvider>(files.key, files.cert, files.ca,
                                                       kRefreshSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  // A stranger's connection ends with the handshake, before any HTTP/2 is parsed. Where callers may
  // show a token instead, a call decides.
  options.set_cert_request_type(has_tokens
                                    ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AccessPolicy>> MakeAccessPolicy(
    const ServerProtection& protection, int shard) {
  const bool has_tls = protection.tls.given();
  TokenTable tokens;
  if (!protection.token_file.empty()) {
    ASSIGN_OR_RETURN(tokens, TokenTable::Read(protection.token_file));
  }
  std::string domain;
  if (has_tls) {
    RETURN_IF_ERROR(CheckTlsFiles(protection.tls, /*needs_certificate=*/true, absl::Now()));
    ASSIGN_OR_RETURN(domain, OwnDomain(protection.tls, shard));
  } else if (tokens.empty()) {
    return nullptr;
  }
  return std::make_shared<const AccessPolicy>(std::move(domain), std::move(tokens));
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(
    const TlsFiles& tls, const std::shared_ptr<const AccessPolicy>& policy, Refusals refusals) {
  if (policy == nullptr) return grpc::InsecureServerCredentials();
  // Plaintext credentials that can check calls are local ones: they also refuse connections from
  // other machines.
  std::shared_ptr<grpc::ServerCredentials> credentials =
      tls.given() ? MakeTls(tls, policy->has_tokens())
                  : grpc::experimental::LocalServerCredentials(LOCAL_TCP);
  credentials->SetAuthMetadataProcessor(MakeGatekeeper(policy, std::move(refusals)));
  return credentials;
}

std::shared_ptr<grpc::AuthMetadataProcessor> MakeGatekeeper(
    std::shared_ptr<const AccessPolicy> policy, Refusals refusals) {
  return std::make_shared<Gatekeeper>(std::move(policy), std::move(refusals));
}

bool MayWork(const AccessPolicy* policy, const grpc::ServerContextBase& context) {
  if (policy == nullptr) return true;
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  const absl::StatusOr<Role> role =
      policy->RoleOfCaller(FactsOf(auth.get(), context.client_metadata()));
  return role.ok() && *role == Role::kWorker;
}

std::string CallerOf(const grpc::ServerContextBase& context) {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  return CallerName(FactsOf(auth.get(), context.client_metadata()));
}

CallPeer PeerOf(const grpc::ServerContextBase& context) {
  CallPeer peer = {context.peer(), CallerOf(context)};
  if (peer.caller.empty()) peer.caller = AddressOf(peer.connection);
  return peer;
}

}  // namespace percentdelta
