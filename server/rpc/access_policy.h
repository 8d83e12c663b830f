// SPDX-License-Identifier: Apache-2.0

// Who calls, and whether they may: certificates and tokens against the role table. Free of gRPC.

#ifndef PERCENTDELTA_SERVER_RPC_ACCESS_POLICY_H_
#define PERCENTDELTA_SERVER_RPC_ACCESS_POLICY_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/role.h"

namespace percentdelta {

// What a call shows of its caller.
struct CallerFacts {
  std::string path;           // "/package.Service/Method"
  bool certificate = false;   // one that the CA has signed
  std::string spiffe_id;      // of that certificate; empty: it has no such name
  std::string authorization;  // the metadata of this name; empty: none
};

// The name by which leases and logs know a caller: the certificate's URI, or "token " and the
// beginning of the token's hash, or "" if the caller shows neither. Never contains a token.
std::string CallerName(const CallerFacts& facts);

// The tokens that a server accepts, by role. Immutable.
class TokenTable {
 public:
  TokenTable() = default;

  // Parses lines of a role and a token's hash, as "pdctl token" prints them, with empty lines and
  // comments that begin with "#". Returns kInvalidArgument, naming `path` and the line but not its
  // contents, for anything else.
  static absl::StatusOr<TokenTable> Parse(absl::string_view path, absl::string_view text);
  static absl::StatusOr<TokenTable> Read(const std::string& path);

  bool empty() const { return entries_.empty(); }

  // Takes the same time for all tokens of one length, whether and where they are found.
  std::optional<Role> Find(absl::string_view token) const;

 private:
  struct Entry {
    Role role;
    std::string hash;
  };
  std::vector<Entry> entries_;
};

// Thread-safe, immutable.
class AccessPolicy {
 public:
  // `domain`: of the server's own certificate, which the callers' must share; empty without TLS.
  AccessPolicy(std::string domain, TokenTable tokens)
      : domain_(std::move(domain)), tokens_(std::move(tokens)) {}

  bool has_tokens() const { return !tokens_.empty(); }

  // kUnauthenticated if it is unknown who calls, kPermissionDenied if they may not: no certificate,
  // no token, another domain, a token that is not in the table, a role that the RPC is not for. A
  // caller with both is known by its certificate.
  absl::Status Check(const CallerFacts& facts) const;

  // The same without the RPC.
  absl::StatusOr<Role> RoleOfCaller(const CallerFacts& facts) const;

 private:
  const std::string domain_;
  const TokenTable tokens_;
};

// Whether a caller of this name (CallerName) may speak for a shard. A name that is not a URI may
// speak for all: it is a token's, or the server serves everybody. Returns kPermissionDenied.
absl::Status CheckSpeaksFor(absl::string_view caller, int shard);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_ACCESS_POLICY_H_
