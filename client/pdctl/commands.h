// SPDX-License-Identifier: Apache-2.0

// The commands of pdctl, apart from its command line.

#ifndef PERCENTDELTA_CLIENT_PDCTL_COMMANDS_H_
#define PERCENTDELTA_CLIENT_PDCTL_COMMANDS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cluster.h"
#include "common/transport/credentials.h"

namespace percentdelta {

enum class Format { kTable, kJson, kCsv };

// Each command writes its result to `out`. Errors are those of Cluster, with advice for the user if
// a server cannot be reached.

// Writes the state of the training, as a table or as JSON; returns kInvalidArgument for kCsv.
absl::Status ShowStatus(const Cluster& cluster, Format format, std::ostream& out);

// Writes loss, accuracy and metrics of the most recent `last` steps, or of all that are retained.
absl::Status ShowProgress(const Cluster& cluster, std::optional<int64_t> last, Format format,
                          std::ostream& out);

// Requests a checkpoint, waits for it, and writes a line about it.
//   kFailedPrecondition  the job configures no checkpoints, or the training has ended
//   kAborted             the checkpoint could not be written; the message says why
//   kDeadlineExceeded    the checkpoint is not complete after `timeout`
absl::Status TakeCheckpoint(const Cluster& cluster, absl::Duration timeout, std::ostream& out);

// Stops giving out leases, and ends that. Writes a line about it.
absl::Status PauseTraining(const Cluster& cluster, std::ostream& out);
absl::Status ResumeTraining(const Cluster& cluster, std::ostream& out);

// Ends the cluster with a checkpoint, waits until its coordinator has ended, and writes a line.
//   kFailedPrecondition  the job configures no checkpoints, or the training has failed
//   kAborted             the checkpoint failed, or another operator resumed the training
//   kDeadlineExceeded    the servers have not ended after `timeout`; they are still draining
absl::Status DrainCluster(const Cluster& cluster, absl::Duration timeout, std::ostream& out);

// Writes the update statistics of the most recent `last` steps: of one layer, or if `layer` is
// empty of all layers.
absl::Status ShowStatistics(const Cluster& cluster, const std::string& layer, int last,
                            Format format, std::ostream& out);

// Writes the last `last` steps, then every step as it completes, until the training ends or `out`
// fails. Flushes after each step. JSON is one object per line.
absl::Status WatchStatistics(const Cluster& cluster, const std::string& layer, int last,
                             Format format, std::ostream& out);

// Writes "<sha256>  step N" of the newest complete weights, and kAnyArithmeticNote where it
// applies.
absl::Status ShowChecksum(const Cluster& cluster, std::ostream& out);

// Writes the newest complete weights to a safetensors file, and a line about it to `out`.
absl::Status ExportToFile(const Cluster& cluster, const std::string& path, std::ostream& out);

// Writes report.html and its tables (report.h) to the directory, and a line about it to `out`.
absl::Status ReportToDirectory(const Cluster& cluster, const std::string& directory,
                               std::ostream& out);

// Writes the job in its text format, after a comment with its hash.
absl::Status ShowJob(const Cluster& cluster, std::ostream& out);

// Writes "SERVING" if the server at `address` reports that by grpc.health.v1; returns
// kFailedPrecondition if it reports another state.
absl::Status ShowHealth(const std::string& address, absl::Duration deadline,
                        const std::shared_ptr<const ClientCredentials>& credentials,
                        std::ostream& out);

// Makes a token, writes it to the new file `path`, which only its owner may read, and the line for
// a server's token file to `out`.
//   kInvalidArgument  no such role
//   kUnavailable      the file exists or cannot be written
absl::Status MakeTokenFile(const std::string& role, const std::string& path, std::ostream& out);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_COMMANDS_H_
