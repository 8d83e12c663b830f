// SPDX-License-Identifier: Apache-2.0

#include "common/program/metrics_flags.h"

#include <string>

#include "absl/flags/flag.h"

ABSL_FLAG(
    std::string, metrics, "",
    "IP address and port at which Prometheus gets metrics, as in 127.0.0.1:9464; port 0 takes "
    "a free port, which the log names; empty: none. Other addresses than loopback ones need "
    "--metrics_password_file or --metrics_insecure");
ABSL_FLAG(std::string, metrics_password_file, "",
          "file with the password that --metrics asks for (HTTP basic authentication, any user)");
ABSL_FLAG(bool, metrics_insecure, false,
          "show metrics to everybody who can reach the address of --metrics");

namespace percentdelta {

MetricsOptions MetricsOptionsFromFlags() {
  return {absl::GetFlag(FLAGS_metrics), absl::GetFlag(FLAGS_metrics_password_file),
          absl::GetFlag(FLAGS_metrics_insecure)};
}

}  // namespace percentdelta
