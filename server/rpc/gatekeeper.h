// SPDX-License-Identifier: Apache-2.0

// The server's side of TLS, and the check of every call before it reaches a service, those of
// health and reflection included.

#ifndef PERCENTDELTA_SERVER_RPC_GATEKEEPER_H_
#define PERCENTDELTA_SERVER_RPC_GATEKEEPER_H_

#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/certificate.h"
#include "server/rpc/access_policy.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/refusal_log.h"
#include "server/rpc/refusal_watch.h"

namespace percentdelta {

// How a server protects itself. Neither TLS nor tokens: it serves everybody who can reach it.
struct ServerProtection {
  TlsFiles tls;            // all three or none
  std::string token_file;  // lines of a role and a token's hash; without TLS on loopback only
};

// Who may call; null with neither TLS nor tokens.
//   kInvalidArgument  the files: see CheckTlsFiles and TokenTable::Read; a certificate of our own
//                     that is not shard `shard`'s
absl::StatusOr<std::shared_ptr<const AccessPolicy>> MakeAccessPolicy(
    const ServerProtection& protection, int shard);

// Where refused calls go.
struct Refusals {
  std::shared_ptr<RefusalLog> log;
  std::shared_ptr<RefusalWatch> watch;  // may be null
};

// Makes the credentials that every connection of a server uses. With TLS (1.2 or later) a caller
// must show a certificate that the CA has signed and that is valid, or, where there are tokens, may
// show none; the files are read again, at most a second after they change, and later connections
// use them. Every call is checked by `policy`; a refusal is answered with its status. A null policy
// serves everybody.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(
    const TlsFiles& tls, const std::shared_ptr<const AccessPolicy>& policy, Refusals refusals);

// The check of every call: gRPC asks it, on the thread that received the call.
std::shared_ptr<grpc::AuthMetadataProcessor> MakeGatekeeper(
    std::shared_ptr<const AccessPolicy> policy, Refusals refusals);

// Whether the caller of a call that was let in may work: it has the role worker. True with a null
// policy, which does not know callers.
bool MayWork(const AccessPolicy* policy, const grpc::ServerContextBase& context);

// The caller's name (CallerName) of a call that was let in.
std::string CallerOf(const grpc::ServerContextBase& context);

// Whose call it is, for its limits.
CallPeer PeerOf(const grpc::ServerContextBase& context);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_GATEKEEPER_H_
