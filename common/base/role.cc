// SPDX-License-Identifier: Apache-2.0

#include "common/base/role.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/sha256.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxUriBytes = 2048;  // of SPIFFE
constexpr size_t kMaxShownBytes = 200;
constexpr size_t kTokenBytes = 32;
constexpr absl::string_view kShardPrefix = "shard-";

bool IsPart(absl::string_view text) {
  const auto is_allowed = [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  };
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::all_of(text.begin(), text.end(), is_allowed);
}

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kServer:
      return "server";
    case Role::kWorker:
      return "worker";
    case Role::kOperator:
      return "operator";
    case Role::kViewer:
      return "viewer";
  }
  return "";
}

std::optional<Role> RoleOf(absl::string_view name) {
  for (const Role role : kRoles) {
    if (RoleName(role) == name) return role;
  }
  return std::nullopt;
}

std::optional<int> Principal::shard() const {
  absl::string_view number = name;
  int shard = 0;
  if (role != Role::kServer || !absl::ConsumePrefix(&number, kShardPrefix)) return std::nullopt;
  if (!absl::SimpleAtoi(number, &shard) || absl::StrCat(shard) != number || shard < 0) {
    return std::nullopt;
  }
  return shard;
}

absl::StatusOr<Principal> ParsePrincipal(absl::string_view uri) {
  absl::string_view rest = uri;
  Principal result;
  if (uri.size() <= kMaxUriBytes && absl::ConsumePrefix(&rest, "spiffe://")) {
    const std::vector<absl::string_view> parts = absl::StrSplit(rest, '/');
    const std::optional<Role> role = parts.size() == 4 ? RoleOf(parts[2]) : std::nullopt;
    if (role && IsPart(parts[0]) && parts[1] == "percentdelta" && IsPart(parts[3])) {
      return Principal{std::string(parts[0]), *role, std::string(parts[3])};
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "expected one URI spiffe://DOMAIN/percentdelta/ROLE/NAME with the role server, worker, "
      "operator or viewer, got ",
      uri.empty() ? "none, or several"
                  : absl::StrCat("\"", EscapeForLog(uri, kMaxShownBytes), "\"")));
}

absl::StatusOr<std::string> MakeToken() {
  std::array<unsigned char, kTokenBytes> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return absl::InternalError("the system gives no random numbers");
  }
  return absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string HashOfToken(absl::string_view token) {
  return absl::StrCat("sha256:", Sha256Hex(token));
}

}  // namespace percentdelta
