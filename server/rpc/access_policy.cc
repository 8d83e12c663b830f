// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/access_policy.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/errno_status.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "server/rpc/role_table.h"

namespace percentdelta {
namespace {

constexpr size_t kShownHashDigits = 12;
constexpr size_t kMaxShownBytes = 200;
constexpr absl::string_view kHashPrefix = "sha256:";
constexpr size_t kHashDigits = 64;

// The token of "Bearer TOKEN"; empty if there is none.
absl::string_view TokenOf(absl::string_view authorization) {
  if (!absl::StartsWithIgnoreCase(authorization, "bearer ")) return "";
  return absl::StripAsciiWhitespace(authorization.substr(7));
}

bool IsHash(absl::string_view text) {
  return absl::ConsumePrefix(&text, kHashPrefix) && text.size() == kHashDigits &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string CallerName(const CallerFacts& facts) {
  if (!facts.spiffe_id.empty()) return facts.spiffe_id;
  const absl::string_view token = TokenOf(facts.authorization);
  if (token.empty()) return "";
  return absl::StrCat("token ",
                      HashOfToken(token).substr(0, kHashPrefix.size() + kShownHashDigits));
}

absl::StatusOr<TokenTable> TokenTable::Parse(absl::string_view path, absl::string_view text) {
  TokenTable table;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    const std::optional<Role> role = RoleOf(words[0]);
    if (words.size() != 2 || !role || !IsHash(words[1])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token_file: ", EscapeForLog(path, kMaxShownBytes), " line ", number,
          ": expected a role (server, worker, operator, viewer) and sha256:HASH, as \"pdctl token\""
          " prints them, got something else"));
    }
    table.entries_.push_back({*role, std::string(words[1])});
  }
  if (!table.empty()) return table;
  return absl::InvalidArgumentError(absl::StrCat("token_file: ", EscapeForLog(path, kMaxShownBytes),
                                                 ": expected at least one token, got none"));
}

absl::StatusOr<TokenTable> TokenTable::Read(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(absl::StrCat(
        "token_file: ", EscapeForLog(path, kMaxShownBytes), ": ", ErrnoMessage(errno)));
  }
  return Parse(path, std::string{std::istreambuf_iterator<char>(file), {}});
}

std::optional<Role> TokenTable::Find(absl::string_view token) const {
  const std::string hash = HashOfToken(token);
  std::optional<Role> found;
  for (const Entry& entry : entries_) {  // all of them, in constant time each
    if (CRYPTO_memcmp(entry.hash.data(), hash.data(), hash.size()) == 0) found = entry.role;
  }
  return found;
}

absl::StatusOr<Role> AccessPolicy::RoleOfCaller(const CallerFacts& facts) const {
  if (!facts.spiffe_id.empty()) {
    absl::StatusOr<Principal> principal = ParsePrincipal(facts.spiffe_id);
    if (!principal.ok()) {
      return absl::UnauthenticatedError(
          absl::StrCat("the caller's certificate: ", principal.status().message()));
    }
    if (principal->domain != domain_) {
      return absl::UnauthenticatedError(absl::StrCat(
          "the caller's certificate: expected the domain ", domain_, ", got ", principal->domain));
    }
    return principal->role;
  }
  const absl::string_view token = TokenOf(facts.authorization);
  if (!token.empty() && !tokens_.empty()) {
    if (const std::optional<Role> role = tokens_.Find(token)) return *role;
    return absl::UnauthenticatedError(
        "the caller's token is not one of this server; get one with \"pdctl token\", and its hash "
        "into the server's token_file");
  }
  if (facts.certificate) {
    return absl::UnauthenticatedError(
        absl::StrCat("the caller's certificate: ", ParsePrincipal("").status().message()));
  }
  return absl::UnauthenticatedError(
      tokens_.empty() ? "the caller shows no certificate; give tls_cert and tls_key"
                      : "the caller shows neither a certificate nor a token; give tls_cert and "
                        "tls_key, or token_file");
}

absl::Status AccessPolicy::Check(const CallerFacts& facts) const {
  ASSIGN_OR_RETURN(const Role role, RoleOfCaller(facts));
  if (MayCall(role, facts.path)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("the role ", RoleName(role), " may not call ",
                                                  EscapeForLog(facts.path, kMaxShownBytes)));
}

absl::Status CheckSpeaksFor(absl::string_view caller, int shard) {
  const absl::StatusOr<Principal> principal = ParsePrincipal(caller);
  if (!principal.ok() || principal->shard() == shard) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("the caller's certificate is of ", principal->name, ", and not of shard-", shard,
                   "; give each server the certificate of its own shard"));
}

}  // namespace percentdelta
