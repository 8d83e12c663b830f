// SPDX-License-Identifier: Apache-2.0

#include "server/server_options.h"

#include "absl/strings/str_cat.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"
#include "common/job/job_validation.h"

namespace percentdelta {

const std::string& AdvertisedAddress(const ServerOptions& options) {
  return options.advertise.empty() ? options.listen : options.advertise;
}

absl::Status CheckOptions(const ServerOptions& options) {
  if (options.shards < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("shards: expected at least 1, got ", options.shards));
  }
  if (options.shard < 0 || options.shard >= options.shards) {
    return absl::InvalidArgumentError(absl::StrCat("shard: expected 0..", options.shards - 1,
                                                   " of ", options.shards, ", got ",
                                                   options.shard));
  }
  if (options.shard != 0 && options.coordinator.empty()) {
    return absl::InvalidArgumentError(
        "coordinator: expected the host:port of shard 0, got nothing");
  }
  const struct {
    const char* name;
    const std::string& value;
    int lowest_port;
  } addresses[] = {{"listen", options.listen, 0},
                   {"advertise", options.advertise, 0},
                   {"coordinator", options.coordinator, 1}};
  for (const auto& [name, value, lowest_port] : addresses) {
    if (value.empty()) continue;
    RETURN_IF_ERROR(CheckHostAndPort(name, value, lowest_port));
  }
  RETURN_IF_ERROR(CheckAdvertised("advertise", AdvertisedAddress(options), 0));
  if (options.threads < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads: expected at least 0, got ", options.threads));
  }
  if (options.history_steps < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("history: expected at least 1 step, got ", options.history_steps));
  }
  return ValidateJob(options.job);
}

}  // namespace percentdelta
