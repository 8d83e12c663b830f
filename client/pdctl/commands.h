// What pdctl does, apart from reading its command line.

#ifndef PERCENTDELTA_CLIENT_PDCTL_COMMANDS_H_
#define PERCENTDELTA_CLIENT_PDCTL_COMMANDS_H_

#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cluster.h"

namespace percentdelta {

enum class Format { kTable, kJson, kCsv };

// Each writes its answer to `out`; errors are those of Cluster, made fit for the command's user:
// who cannot be reached, and what to do about it.

// The state of the training, as a table or as JSON; kInvalidArgument for kCsv.
absl::Status ShowStatus(const Cluster& cluster, Format format, std::ostream& out);

// Has a checkpoint taken and waits for it, at most for `patience`; a line about it to `out`.
//   kFailedPrecondition  the job has no checkpoints, or the training has ended
//   kAborted             it could not be written; the message says why
//   kDeadlineExceeded    it is not there yet
absl::Status TakeCheckpoint(const Cluster& cluster, absl::Duration patience, std::ostream& out);

// Update statistics of the most recent `last` steps. `layer` empty: of all layers.
absl::Status ShowStatistics(const Cluster& cluster, const std::string& layer, int last,
                            Format format, std::ostream& out);

// The same, on and on, beginning with `last` steps of history, until the training ends or `out`
// fails. Flushes after each step. JSON is one object a line.
absl::Status WatchStatistics(const Cluster& cluster, const std::string& layer, int last,
                             Format format, std::ostream& out);

// "<sha256>  step N" of the newest whole weights.
absl::Status ShowChecksum(const Cluster& cluster, std::ostream& out);

// The newest whole weights into a safetensors file, and a line about it to `out`.
absl::Status ExportToFile(const Cluster& cluster, const std::string& path, std::ostream& out);

// The job in its text format, behind a comment with its hash.
absl::Status ShowJob(const Cluster& cluster, std::ostream& out);

// "SERVING" if the server at `address` says so by grpc.health.v1; kFailedPrecondition if it says
// something else.
absl::Status ShowHealth(const std::string& address, absl::Duration deadline, std::ostream& out);

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_COMMANDS_H_
