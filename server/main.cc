// SPDX-License-Identifier: Apache-2.0

// pd-server: one shard of the model, and in shard 0 the coordinator.

#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/address.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/status_macros.h"
#include "common/base/stop_signals.h"
#include "common/job/job_codec.h"
#include "common/program/command_line.h"
#include "common/program/log_flags.h"
#include "common/program/metrics_flags.h"
#include "common/program/program.h"
#include "common/program/security_flags.h"
#include "server/live_page.h"
#include "server/server.h"

ABSL_FLAG(
    std::string, listen, "127.0.0.1:5000",
    "host:port to listen on; port 0 takes a free port. Other addresses than loopback ones need "
    "--tls_ca, --tls_cert and --tls_key, or --insecure");
ABSL_FLAG(std::string, advertise, "",
          "host:port at which the other servers and the workers reach this one; required when "
          "listening on 0.0.0.0 in a cluster of several machines");
ABSL_FLAG(
    std::string, token_file, "",
    "file with the tokens that are accepted, one line with a role and a hash each (pdctl token); "
    "with TLS or on loopback only");
ABSL_FLAG(std::string, own_token_file, "",
          "file with the token that this server shows to the others, where it has no certificate");
ABSL_FLAG(
    bool, insecure, false,
    "serve everybody who can reach this server, and connect to other machines, without encryption "
    "and authentication");
ABSL_FLAG(int, shard, 0, "index of this shard; shard 0 runs the coordinator");
ABSL_FLAG(int, shards, 1, "number of shards in the cluster");
ABSL_FLAG(std::string, coordinator, "", "host:port of shard 0; ignored by shard 0 itself");
ABSL_FLAG(std::string, job, "", "text-format job file; empty: the paper's MNIST job");
ABSL_FLAG(int, threads, 0, "number of update threads; 0: one per core");
ABSL_FLAG(absl::Duration, lease_deadline, absl::ZeroDuration(),
          "time after which a batch is reassigned to another worker; 0: derived from the observed "
          "pace");
ABSL_FLAG(int64_t, history, 10000, "steps whose statistics and progress shard 0 retains");
ABSL_FLAG(std::string, restore, "",
          "shard 0: start from this checkpoint, or from the newest in this directory; empty: from "
          "the newest in the job's own checkpoint.directory, if it contains any. Other shards: the "
          "job's file of initial weights is not needed");
ABSL_FLAG(bool, no_restore, false, "shard 0: start at step 0; existing checkpoints are set aside");
ABSL_FLAG(std::string, limits, "",
          "what clients may take, as in pushes=64,stall=1m; docs/running.md lists the limits");
ABSL_FLAG(std::string, http, "",
          "shard 0: host:port of a page that shows the training while it runs, as in "
          "127.0.0.1:8080; port 0 takes a free port; empty: none. Other addresses than loopback "
          "ones need --http_token_file");
ABSL_FLAG(std::string, http_token_file, "",
          "file with the tokens of viewers and operators that may see the page, as --token_file");
ABSL_FLAG(std::string, fail_at, "",
          "for tests: POINT[:COUNT[:stop]] kills (or stops) this process when it passes the point "
          "for the "
          "COUNT-th time");
ABSL_FLAG(std::string, tensorboard, "",
          "shard 0: directory for what TensorBoard shows of this training; empty: none");
ABSL_FLAG(int64_t, tensorboard_histograms, 0,
          "shard 0, with --tensorboard: steps from one histogram of weights and gradients to the "
          "next; 0: no histograms");
ABSL_FLAG(std::string, trace, "",
          "file to write a timeline to, in the Chrome trace format (ui.perfetto.dev); empty: none");
ABSL_FLAG(absl::Duration, drain, absl::Seconds(5),
          "how long calls in flight may continue after SIGTERM, SIGINT or SIGHUP; a second signal "
          "ends the server at once");

namespace percentdelta {
namespace {

constexpr char kProgram[] = "pd-server";

// Threads of gRPC, logging, metrics, signals, heartbeats, checkpoints and memory trimming.
constexpr int kOtherThreads = 28;

// Rejects values that Server::Start would accept but that cannot be intended.
absl::Status CheckFlags() {
  absl::Status status;
  status.Update(CheckRange("--shards", absl::GetFlag(FLAGS_shards), 1, kMaxShards));
  status.Update(CheckRange("--threads", absl::GetFlag(FLAGS_threads), 0, kMaxThreads));
  status.Update(CheckRange("--history", absl::GetFlag(FLAGS_history), 1, kMaxHistory));
  status.Update(
      CheckRange("--lease_deadline", absl::GetFlag(FLAGS_lease_deadline), absl::ZeroDuration()));
  status.Update(CheckRange("--drain", absl::GetFlag(FLAGS_drain), absl::ZeroDuration()));
  return status;
}

int ThreadsNeeded() {
  const int threads = absl::GetFlag(FLAGS_threads);
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const int page = absl::GetFlag(FLAGS_http).empty() ? 0 : LivePage::kThreads;
  return (threads > 0 ? threads : cores) + kOtherThreads + page;
}

std::string AdvertisedAddress() {
  std::string advertise = absl::GetFlag(FLAGS_advertise);
  if (!advertise.empty()) return advertise;
  const absl::StatusOr<HostPort> listen = ParseHostPort("", absl::GetFlag(FLAGS_listen), 0);
  // A wildcard address cannot be connected to.
  if (!listen.ok() || !IsWildcard(listen->host)) return "";
  return ToString({"127.0.0.1", listen->port});
}

Server::Options OptionsFor(Job job) {
  Server::Options options;
  options.job = std::move(job);
  options.shard = absl::GetFlag(FLAGS_shard);
  options.shards = absl::GetFlag(FLAGS_shards);
  options.listen = absl::GetFlag(FLAGS_listen);
  options.advertise = AdvertisedAddress();
  options.coordinator = absl::GetFlag(FLAGS_coordinator);
  options.tls = TlsFilesFromFlags();
  options.token_file = absl::GetFlag(FLAGS_token_file);
  options.own_token_file = absl::GetFlag(FLAGS_own_token_file);
  options.insecure = absl::GetFlag(FLAGS_insecure);
  options.threads = absl::GetFlag(FLAGS_threads);
  options.lease_deadline = absl::GetFlag(FLAGS_lease_deadline);
  options.history_steps = absl::GetFlag(FLAGS_history);
  options.tensorboard = absl::GetFlag(FLAGS_tensorboard);
  options.tensorboard_histograms = absl::GetFlag(FLAGS_tensorboard_histograms);
  options.metrics = MetricsOptionsFromFlags();
  options.restore = absl::GetFlag(FLAGS_restore);
  options.http = absl::GetFlag(FLAGS_http);
  options.http_token_file = absl::GetFlag(FLAGS_http_token_file);
  options.no_restore = absl::GetFlag(FLAGS_no_restore);
  // Generations that a restarted coordinator opens must be newer than those of before.
  options.first_generation = static_cast<uint64_t>(absl::ToUnixMillis(absl::Now()));
  return options;
}

absl::StatusOr<Server::Options> OptionsFromFlags() {
  RETURN_IF_ERROR(CheckFlags());
  ASSIGN_OR_RETURN(Job job, LoadJob(absl::GetFlag(FLAGS_job)));
  absl::StatusOr<FaultPoints> faults = FaultPoints::Parse(
      absl::GetFlag(FLAGS_fail_at), {std::begin(kFaultPoints), std::end(kFaultPoints)});
  if (!faults.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--fail_at: ", faults.status().message()));
  }
  const absl::StatusOr<Limits> limits = ParseLimits(absl::GetFlag(FLAGS_limits));
  if (!limits.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--limits: ", limits.status().message()));
  }
  Server::Options options = OptionsFor(std::move(job));
  options.limits = *limits;
  options.faults = *std::move(faults);
  return options;
}

// Serves until a signal arrives, the cluster is drained, or the coordinator refuses this shard;
// returns the refusal.
absl::Status Serve(Server& server, StopSignals& signals, const Logger& log) {
  absl::Notification stop;
  std::once_flag once;
  const auto notify = [&] { std::call_once(once, [&] { stop.Notify(); }); };
  std::thread drain([&] {
    stop.WaitForNotification();
    server.Shutdown(absl::GetFlag(FLAGS_drain));
  });
  signals.Handle(
      [&](int signal) {
        log->info("draining signal={}", signal);
        notify();
      },
      absl::InfiniteDuration(), EndBySignal);
  absl::Status refused = server.Wait();
  notify();
  drain.join();
  signals.End();
  return refused;
}

int Run() {
  RetainFreedMemory();
  StopSignals signals;
  absl::StatusOr<Server::Options> options = OptionsFromFlags();
  if (!options.ok()) return Fail(kProgram, options.status(), kExitUsage);
  if (absl::Status status = CheckThreads(ThreadsNeeded()); !status.ok()) {
    return Fail(kProgram, status);
  }
  const MemoryTrimmer trimmer;
  const Logger log = MakeLogger(absl::StrCat("server-", options->shard), LogOptionsFromFlags());
  options->log = log;
  if (const std::string path = absl::GetFlag(FLAGS_trace); !path.empty()) {
    absl::StatusOr<std::shared_ptr<Trace>> opened = Trace::Open(path);
    if (!opened.ok()) return Fail(kProgram, opened.status());
    options->trace = *std::move(opened);
  }
  const std::shared_ptr<Trace> trace = options->trace;
  absl::StatusOr<Server> server = Server::Start(*std::move(options));
  if (!server.ok()) {
    log->flush();
    return Fail(kProgram, server.status(),
                absl::IsInvalidArgument(server.status()) ? kExitUsage : kExitFailure);
  }
  const absl::Status refused = Serve(*server, signals, log);
  if (trace != nullptr) {
    if (absl::Status status = trace->Close(); !status.ok())
      log->warn("trace not written error=\"{}\"", status.message());
  }
  log->info("stopped");
  log->flush();
  if (refused.ok()) return 0;
  // A supervisor must not start it again: it would take the place back.
  return Fail(kProgram, refused, absl::IsAlreadyExists(refused) ? kExitReplaced : kExitFailure);
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  return percentdelta::RunProgram(
      argc, argv,
      {percentdelta::kProgram,
       "Parameter server: owns a shard of the model and applies its update rule.\n"
       "  pd-server --shards=2 --shard=0\n"
       "  pd-server --shards=2 --shard=1 --listen=127.0.0.1:5001 --coordinator=127.0.0.1:5000\n"
       "On several machines: --listen=0.0.0.0:5000 --advertise=HOST:5000 and --tls_ca, --tls_cert, "
       "--tls_key",
       /*takes_words=*/false,
       [](const std::vector<std::string>& /*words*/) { return percentdelta::Run(); }});
}
