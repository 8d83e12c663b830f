// SPDX-License-Identifier: Apache-2.0

// The roles of the processes of a cluster, as certificates and tokens name them.
//
// A certificate names its holder by one URI, spiffe://DOMAIN/percentdelta/ROLE/NAME: the form of
// SPIFFE. The name of a server is "shard-N". A token is a random text that a role's holders know.

#ifndef PERCENTDELTA_COMMON_BASE_ROLE_H_
#define PERCENTDELTA_COMMON_BASE_ROLE_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

enum class Role {
  kServer,    // heartbeats, norms, statistics' reports
  kWorker,    // job, leases, pull, push
  kOperator,  // checkpoints, the weights, and what a viewer may
  kViewer,    // status, statistics, health
};
inline constexpr Role kRoles[] = {Role::kServer, Role::kWorker, Role::kOperator, Role::kViewer};

// "server", "worker", "operator", "viewer".
absl::string_view RoleName(Role role);
std::optional<Role> RoleOf(absl::string_view name);

// What a certificate's URI says.
struct Principal {
  std::string domain;
  Role role = Role::kViewer;
  std::string name;

  // N of a server whose name is "shard-N"; nothing for other names and roles.
  std::optional<int> shard() const;
};

// Returns kInvalidArgument, quoting the URI, if it is not of the form above. A name consists of
// 1..128 letters, digits, "-", "_" and ".".
absl::StatusOr<Principal> ParsePrincipal(absl::string_view uri);

// Returns a new token of 256 random bits, in base64url. kInternal: the system has no randomness.
absl::StatusOr<std::string> MakeToken();

// Returns "sha256:HEX": what a server stores of a token. A token is too random to be guessed from
// its hash, so that the hash needs no salt.
std::string HashOfToken(absl::string_view token);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_ROLE_H_
