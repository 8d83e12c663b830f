// SPDX-License-Identifier: Apache-2.0

// What a server is started with.

#ifndef PERCENTDELTA_SERVER_SERVER_OPTIONS_H_
#define PERCENTDELTA_SERVER_SERVER_OPTIONS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/certificate.h"
#include "common/base/client_security.h"
#include "common/base/clock.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/trace.h"
#include "common/job/job.h"
#include "common/metrics/exporter.h"
#include "server/rpc/limits.h"

namespace percentdelta {

// Where tests may kill or stop a server: before it sends norms, between the phases, before it syncs
// a checkpoint's slices, ... (common/base/fault_point.h).
inline constexpr const char* kFaultPoints[] = {"phase",    "reduce_norms", "write",   "slice_file",
                                               "sync",     "rename",       "history", "manifest",
                                               "complete", "generation",   "restore"};

struct ServerOptions {
  Job job;
  int shard = 0;
  int shards = 1;

  // Address to listen on; port 0 takes a free port.
  std::string listen = "127.0.0.1:0";

  // Address at which other processes reach this server; its host must be one that they can connect
  // to (not 0.0.0.0). Empty: `listen`. Port 0 stands for the port that was taken.
  std::string advertise;

  // "host:port" of shard 0. Shard 0 itself ignores it.
  std::string coordinator;

  // The server's certificate, whose name is .../server/shard-N. None: plaintext.
  TlsFiles tls;

  // File with the tokens that are accepted (access_policy.h). Needs TLS, or loopback addresses.
  std::string token_file;

  // File with the token that this server shows to the others, where it has no certificate.
  std::string own_token_file;

  // Plaintext may leave the machine: everybody who can reach the server is served.
  bool insecure = false;

  // Number of update threads; 0 means one per core.
  int threads = 0;

  // Interval of the shard's heartbeats; a tenth of it while shards are missing.
  absl::Duration heartbeat_interval = absl::Seconds(1);

  // Shard 0 only: address of the live page (live_page.h), as in "127.0.0.1:8080". Empty: none. An
  // address that is not loopback needs `http_token_file`.
  std::string http;
  std::string http_token_file;

  // Shard 0 only: see Coordinator::Options.
  uint64_t first_generation = 1;
  absl::Duration lease_deadline = absl::ZeroDuration();
  int64_t history_steps = 10000;

  // Shard 0 only, whether the job configures checkpoints or not: start from this checkpoint, given
  // by its directory or by one that contains checkpoints (then the newest). Newer checkpoints in
  // the job's own directory are set aside. Other shards only learn from it that they need not read
  // the job's file of initial weights.
  std::string restore;

  // Shard 0 only: start at step 0; all checkpoints in the job's directory are set aside.
  bool no_restore = false;

  // Shard 0 only: directory for what TensorBoard shows (tensorboard_writer.h). Empty: none.
  std::string tensorboard = {};

  // With `tensorboard`: histograms of weights and gradients of the steps that are multiples of it.
  // 0: none.
  int64_t tensorboard_histograms = 0;

  // Where Prometheus gets this server's metrics.
  MetricsOptions metrics = {};

  // What its clients may take.
  Limits limits;

  // Must outlive the server. Null: the steady clock.
  const Clock* clock = nullptr;
  Logger log;                    // null: silent
  std::shared_ptr<Trace> trace;  // null: none
  FaultPoints faults;            // for tests: see kFaultPoints
};

// Checks each option and the job, and that they agree. Does not access files or the network.
// Returns kInvalidArgument, naming the option.
absl::Status CheckOptions(const ServerOptions& options);

// The security of the server's own calls, to the coordinator and to other shards.
ClientSecurity SecurityOfCalls(const ServerOptions& options);

// `advertise`, or `listen` if that is empty. The port may be 0.
const std::string& AdvertisedAddress(const ServerOptions& options);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SERVER_OPTIONS_H_
