// SPDX-License-Identifier: Apache-2.0

#include "server/server_options.h"

#include "absl/strings/str_cat.h"
#include "common/base/address.h"
#include "common/base/client_security.h"
#include "common/base/status_macros.h"
#include "common/job/job_validation.h"
#include "server/http/http_options.h"

namespace percentdelta {

const std::string& AdvertisedAddress(const ServerOptions& options) {
  return options.advertise.empty() ? options.listen : options.advertise;
}

ClientSecurity SecurityOfCalls(const ServerOptions& options) {
  return {options.tls, options.own_token_file, options.insecure};
}

namespace {

// Checks that nothing leaves the machine unencrypted unless that is what the user wants.
absl::Status CheckSecurity(const ServerOptions& options) {
  if (options.tls.given()) {
    if (!options.insecure) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "insecure: expected it without tls_ca, tls_cert and tls_key, got both");
  }
  ASSIGN_OR_RETURN(const HostPort listen, ParseHostPort("listen", options.listen, 0));
  if (!IsLoopback(listen.host)) {
    if (!options.token_file.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token_file: expected tls_ca, tls_cert and tls_key with it, or a loopback address to "
          "listen on, got ",
          options.listen, ": tokens would cross the network unencrypted"));
    }
    if (!options.insecure) {
      return absl::InvalidArgumentError(absl::StrCat(
          "listen: ", options.listen,
          " can be reached from other machines: expected tls_ca, "
          "tls_cert and tls_key, or insecure to serve everybody who can reach it, got neither"));
    }
  }
  if (!options.token_file.empty() && options.own_token_file.empty()) {
    return absl::InvalidArgumentError(
        "own_token_file: expected the file with a token of the role server for this server's own "
        "calls, since token_file is given and tls_cert is not, got nothing");
  }
  if (options.shard == 0) return absl::OkStatus();
  return CheckSecurityOf("coordinator", options.coordinator, SecurityOfCalls(options));
}

}  // namespace

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
  RETURN_IF_ERROR(CheckSecurity(options));
  if (options.tensorboard_histograms < 0 ||
      (options.tensorboard_histograms > 0 && options.tensorboard.empty())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensorboard_histograms: expected a number of steps, with a directory in "
        "tensorboard, or 0, got ",
        options.tensorboard_histograms, options.tensorboard.empty() ? " without a directory" : ""));
  }
  if (!options.http.empty()) {
    if (options.shard != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "http: expected it with shard 0, which runs the coordinator, got shard ", options.shard));
    }
    RETURN_IF_ERROR(CheckHttp(options.http, options.http_token_file));
  }
  RETURN_IF_ERROR(CheckMetricsOptions(options.metrics));
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
