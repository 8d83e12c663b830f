// What pdctl does, apart from reading its command line.

#ifndef PERCENTDELTA_CLIENT_COMMANDS_H_
#define PERCENTDELTA_CLIENT_COMMANDS_H_

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cluster.h"

namespace percentdelta {

enum class Format { kTable, kJson, kCsv };

// Each writes its answer to `out`; errors are those of Cluster.

// The state of the training. kCsv is shown as a table.
absl::Status ShowStatus(const Cluster& cluster, Format format, std::ostream& out);

// Update statistics of the most recent `last` steps.
absl::Status ShowStatistics(const Cluster& cluster, const std::string& layer, int last,
                            Format format, std::ostream& out);

// The same, on and on, beginning with `last` steps of history, until the training ends or `out`
// fails.
absl::Status WatchStatistics(const Cluster& cluster, const std::string& layer, int last,
                             Format format, std::ostream& out);

// "<sha256>  step N" of the weights.
absl::Status ShowChecksum(const Cluster& cluster, std::ostream& out);

// The weights into a safetensors file.
absl::Status ExportToFile(const Cluster& cluster, const std::string& path, std::ostream& out);

// The job as text.
absl::Status ShowJob(const Cluster& cluster, std::ostream& out);

// "SERVING" if the server at `address` says so by grpc.health.v1; else kUnavailable.
absl::Status ShowHealth(const std::string& address, absl::Duration deadline, std::ostream& out);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_COMMANDS_H_
