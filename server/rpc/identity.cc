// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/identity.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/transience.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxErrorBytes = 200;

}  // namespace

absl::Status CheckIdentity(const ShardIdentity& expected, const std::string& address,
                           absl::string_view caller, const absl::Status& status,
                           const v1::IdentifyResponse& response) {
  const std::string advertises =
      absl::StrCat("shard ", expected.shard, " advertises ", address, ", ");
  const auto answers = [&](absl::string_view who) {
    return absl::FailedPreconditionError(
        absl::StrCat(advertises, "where ", who, " answers; check its --advertise"));
  };
  // The message comes from an unknown process: escape and shorten it.
  const std::string error =
      absl::CHexEscape(absl::string_view(status.message()).substr(0, kMaxErrorBytes));
  if (IsTransient(status)) {
    return absl::UnavailableError(
        absl::StrCat(advertises, "which cannot be reached from ", caller, ": ",
                     absl::IsDeadlineExceeded(status) ? "no answer in time" : error,
                     "; check its --advertise, and that no firewall closes the port"));
  }
  if (!status.ok()) {
    return answers(
        absl::StrCat("something else (", absl::StatusCodeToString(status.code()), " ", error, ")"));
  }
  if (response.job_hash() != expected.job_hash) return answers("a server of another job");
  if (response.shard() != expected.shard) return answers(absl::StrCat("shard ", response.shard()));
  if (expected.incarnation != 0 && response.incarnation() != expected.incarnation) {
    return answers("another process of this shard");
  }
  return absl::OkStatus();
}

}  // namespace percentdelta
