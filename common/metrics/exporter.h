// SPDX-License-Identifier: Apache-2.0

// Serves a process's metrics to Prometheus, on http://ADDRESS/metrics.

#ifndef PERCENTDELTA_COMMON_METRICS_EXPORTER_H_
#define PERCENTDELTA_COMMON_METRICS_EXPORTER_H_

#include <prometheus/collectable.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace prometheus {
class Exposer;
}

namespace percentdelta {

struct MetricsOptions {
  // HOST:PORT; the host is an IP address or "localhost", port 0 takes a free port. Empty: no
  // metrics are served.
  std::string address = {};

  // File with a password on its first line, for HTTP basic authentication; the user may have any
  // name. Empty: everybody who reaches the address may read.
  std::string password_file = {};

  // Without a password: allow an address that other machines can reach.
  bool insecure = false;
};

// Checks the address, and that not everybody on the network may read by mistake. Returns
// kInvalidArgument, naming the option ("metrics", ...).
absl::Status CheckMetricsOptions(const MetricsOptions& options);

// Thread-safe. Collects when it is scraped, on its own two threads: slow or many clients delay each
// other, and nothing else. A client that does not read, or does not ask, is cut off after 5 s.
// Serves nothing but /metrics, and no files. The destructor waits for the scrapes in flight.
class MetricsExporter {
 public:
  // `sources` must stay alive, and what they read, until the exporter ends. Besides these it serves
  // the process's own metrics.
  //   kInvalidArgument  see CheckMetricsOptions
  //   kUnavailable      cannot listen on the address, or read the password
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(
      const MetricsOptions& options, std::vector<std::shared_ptr<prometheus::Collectable>> sources);

  ~MetricsExporter();

  // With the port that was taken.
  const std::string& address() const { return address_; }

 private:
  MetricsExporter() = default;

  std::string address_;
  std::vector<std::shared_ptr<prometheus::Collectable>> sources_;
  std::unique_ptr<prometheus::Exposer> exposer_;  // the last member: its threads use the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_METRICS_EXPORTER_H_
