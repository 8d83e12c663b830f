// pd-server: one shard of the model, and in shard 0 the coordinator.

#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/address.h"
#include "common/command_line.h"
#include "common/descriptors.h"
#include "common/job_codec.h"
#include "common/log.h"
#include "common/memory.h"
#include "server/server.h"

ABSL_FLAG(std::string, listen, "0.0.0.0:5000", "host:port to listen on; port 0 takes a free one");
ABSL_FLAG(std::string, advertise, "",
          "host:port at which the other servers and the workers reach this one; needed when "
          "listening on 0.0.0.0 with more than this machine in the cluster");
ABSL_FLAG(int, shard, 0, "index of this shard; shard 0 hosts the coordinator");
ABSL_FLAG(int, shards, 1, "number of shards in the cluster");
ABSL_FLAG(std::string, coordinator, "", "host:port of shard 0; not needed by shard 0 itself");
ABSL_FLAG(std::string, job, "", "text-format job file; empty: the paper's MNIST job");
ABSL_FLAG(int, threads, 0, "threads that compute the updates; 0: one a core");
ABSL_FLAG(absl::Duration, lease_deadline, absl::ZeroDuration(),
          "after which a worker's batch is given to another; 0: derived from the observed pace");
ABSL_FLAG(int64_t, history, 10000, "steps whose statistics and progress shard 0 retains");
ABSL_FLAG(std::string, restore, "",
          "shard 0: begin with this checkpoint, or the newest in this directory; empty: with the "
          "newest in the job's own checkpoint.directory, if there is one");
ABSL_FLAG(bool, no_restore, false,
          "shard 0: begin at step 0; checkpoints that are there are set aside");
ABSL_FLAG(
    std::string, fail_at, "",
    "for tests: POINT[:COUNT[:stop]] kills this process at the COUNT-th passing of a point, or "
    "stops it");
ABSL_FLAG(std::string, trace, "",
          "file for a timeline in the Chrome trace format (ui.perfetto.dev); empty: none");
ABSL_FLAG(absl::Duration, drain, absl::Seconds(5),
          "how long calls under way may take to end after SIGTERM");

namespace percentdelta {
namespace {

std::string AdvertisedAddress() {
  std::string advertise = absl::GetFlag(FLAGS_advertise);
  if (!advertise.empty()) return advertise;
  const absl::StatusOr<HostPort> listen = ParseHostPort("", absl::GetFlag(FLAGS_listen), 0);
  // Everywhere is not an address that one can connect to.
  if (!listen.ok() || !IsWildcard(listen->host)) return "";
  return ToString({"127.0.0.1", listen->port});
}

Server::Options OptionsFromFlags(Job job) {
  Server::Options options;
  options.job = std::move(job);
  options.shard = absl::GetFlag(FLAGS_shard);
  options.shards = absl::GetFlag(FLAGS_shards);
  options.listen = absl::GetFlag(FLAGS_listen);
  options.advertise = AdvertisedAddress();
  options.coordinator = absl::GetFlag(FLAGS_coordinator);
  options.threads = absl::GetFlag(FLAGS_threads);
  options.lease_deadline = absl::GetFlag(FLAGS_lease_deadline);
  options.history_steps = absl::GetFlag(FLAGS_history);
  options.restore = absl::GetFlag(FLAGS_restore);
  options.no_restore = absl::GetFlag(FLAGS_no_restore);
  // A restarted coordinator's generations must be newer than those it opened before.
  options.first_generation = static_cast<uint64_t>(absl::ToUnixMillis(absl::Now()));
  options.log = MakeLogger(absl::StrCat("server-", options.shard));
  return options;
}

int Fail(const absl::Status& status, int code) {
  std::cerr << "pd-server: " << status.message() << "\n";
  return code;
}

int Run() {
  BlockStopSignals();
  const MemoryTrimmer trimmer;
  absl::StatusOr<Job> job = LoadJob(absl::GetFlag(FLAGS_job));
  if (!job.ok()) return Fail(job.status(), kExitUsage);
  absl::StatusOr<FaultPoints> faults = FaultPoints::Parse(
      absl::GetFlag(FLAGS_fail_at), {std::begin(kFaultPoints), std::end(kFaultPoints)});
  if (!faults.ok()) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("--fail_at: ", faults.status().message())),
                kExitUsage);
  }
  Server::Options options = OptionsFromFlags(*std::move(job));
  options.faults = *std::move(faults);
  const Logger log = options.log;
  if (const std::string trace = absl::GetFlag(FLAGS_trace); !trace.empty()) {
    absl::StatusOr<std::shared_ptr<Trace>> opened = Trace::Open(trace);
    if (!opened.ok()) return Fail(opened.status(), kExitFailure);
    options.trace = *std::move(opened);
  }
  const std::shared_ptr<Trace> trace = options.trace;
  absl::StatusOr<Server> server = Server::Start(std::move(options));
  if (!server.ok()) {
    return Fail(server.status(),
                absl::IsInvalidArgument(server.status()) ? kExitUsage : kExitFailure);
  }
  std::thread drain([&] {
    log->info("draining signal={}", AwaitStopSignal());
    server->Shutdown(absl::GetFlag(FLAGS_drain));
  });
  const absl::Status refused = server->Wait();
  if (!refused.ok()) kill(getpid(), SIGTERM);
  drain.join();
  if (trace != nullptr) {
    if (absl::Status status = trace->Close(); !status.ok()) log->warn("{}", status.message());
  }
  log->info("stopped");
  return refused.ok() ? 0 : Fail(refused, kExitFailure);
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  percentdelta::KeepFreedMemory();
  percentdelta::RaiseDescriptorLimit();
  const std::vector<std::string> rest = percentdelta::ParseCommandLine(
      argc, argv,
      "Parameter server: owns a shard of the model and applies its update rule.\n"
      "  pd-server --listen=0.0.0.0:5000 --shards=2 --shard=0\n"
      "  pd-server --listen=0.0.0.0:5001 --shards=2 --shard=1 --coordinator=HOST:5000");
  if (!rest.empty()) {
    std::cerr << "pd-server: unexpected argument " << rest[0] << " (see pd-server --help)\n";
    return percentdelta::kExitUsage;
  }
  return percentdelta::Run();
}
