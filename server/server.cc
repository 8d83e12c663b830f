// SPDX-License-Identifier: Apache-2.0

#include "server/server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/base/ticker.h"
#include "common/job/job_codec.h"
#include "common/job/job_validation.h"
#include "common/job/partition.h"
#include "common/transport/credentials.h"
#include "server/checkpoint/checkpoint_start.h"
#include "server/checkpoint/checkpoint_writer.h"
#include "server/coordinator/coordinator.h"
#include "server/generation_opener.h"
#include "server/initial_content.h"
#include "server/live_page.h"
#include "server/local_coordinator.h"
#include "server/memory_needed.h"
#include "server/metrics/coordinator_metrics.h"
#include "server/metrics/shard_metrics.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/connections.h"
#include "server/rpc/flood_watch.h"
#include "server/rpc/gatekeeper.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/handshake_watch.h"
#include "server/rpc/identity.h"
#include "server/rpc/refusal_log.h"
#include "server/rpc/remote_coordinator.h"
#include "server/rpc/services.h"
#include "server/rpc/shard_caller.h"
#include "server/shard/cluster_link.h"
#include "server/shard/shard.h"
#include "server/tensorboard/tensorboard_writer.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(50);
constexpr absl::Duration kLimiterTick = absl::Milliseconds(250);
constexpr absl::Duration kCheckpointTick = absl::Milliseconds(10);
constexpr char kCoordinatorService[] = "percentdelta.v1.Coordinator";
constexpr char kParameterService[] = "percentdelta.v1.ParameterServer";

const SteadyClock& TheSteadyClock() {
  static const SteadyClock kClock;
  return kClock;
}

uint64_t DrawIncarnation() {
  std::random_device device;  // not reproducible: two processes must differ
  return (static_cast<uint64_t>(device()) << 32 | device()) | 1;
}

}  // namespace

class Server::Impl {
 public:
  // `credentials`: of the server's own calls.
  Impl(Options options, InitialContent initial,
       std::shared_ptr<const ClientCredentials> credentials)
      : options_(std::move(options)),
        credentials_(std::move(credentials)),
        refusals_(std::make_shared<RefusalLog>(options_.log, TheSteadyClock())),
        job_hash_(JobHash(options_.job)),
        tracer_(options_.trace, absl::StrCat("shard ", options_.shard)),
        pool_(options_.threads > 0 ? options_.threads
                                   : std::max(1U, std::thread::hardware_concurrency())),
        identity_{options_.shard, job_hash_, DrawIncarnation()},
        limiter_({options_.limits, &TheSteadyClock(), options_.log,
                  [this](const std::string& peer) { ShutDownConnection(port_, peer); }}),
        flood_watch_({options_.limits.unanswered_bytes, options_.limits.transport_bytes / 2,
                      [this] { return ListTraffic(port_); },
                      [this](const std::string& peer) { ShutDownConnection(port_, peer); },
                      options_.log}),
        parameter_service_(shard_, identity_, limiter_),
        initial_(std::move(initial)) {
    if (options_.clock == nullptr) options_.clock = &TheSteadyClock();
    const auto beat_soon = [this] { link_->Wake(); };
    if (options_.job.checkpoint) {
      writer_.emplace(CheckpointWriter::Options{options_.job, options_.shard, options_.shards,
                                                options_.faults, options_.log, beat_soon});
    }
    if (options_.shard == 0) {
      MakeCoordinator();
    } else {
      remote_coordinator_.emplace(options_.coordinator, options_.shards, beat_soon, options_.log,
                                  credentials_);
    }
  }

  ~Impl() { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen();
  absl::Status ServePage();
  absl::Status StartMetrics();
  absl::Status StartTensorBoard();
  void Join();
  absl::Status Wait() const { return link_->Wait(); }
  void Shutdown(absl::Duration grace);

  int port() const { return port_; }
  const std::string& address() const { return address_; }
  std::string page_url() const { return page_ == nullptr ? "" : page_->url(); }

  // Empty: no metrics are served.
  std::string metrics_address() const { return exporter_ ? exporter_->address() : ""; }

 private:
  void MakeCoordinator();
  ShardCoordinator& shard_coordinator();
  CheckpointWriter* checkpoint_writer() { return writer_ ? &*writer_ : nullptr; }
  void WarnOfLoopback() const;
  void SetHealth(bool serving);

  Options options_;
  const std::shared_ptr<const ClientCredentials> credentials_;
  const std::shared_ptr<RefusalLog> refusals_;
  const std::string job_hash_;
  const Tracer tracer_;
  Shard shard_;
  std::optional<Coordinator> coordinator_;               // in shard 0 only
  std::optional<ShardCaller> caller_;                    // in shard 0 only
  std::optional<LocalCoordinator> local_coordinator_;    // in shard 0 only
  std::optional<RemoteCoordinator> remote_coordinator_;  // in the other shards
  std::optional<CheckpointWriter> writer_;               // if the job configures checkpoints
  ThreadPool pool_;  // the destructor runs what is scheduled, which uses the members above
  const ShardIdentity identity_;
  CallLimiter limiter_;
  FloodWatch flood_watch_;  // used by the limiter's ticker only
  ParameterServerService parameter_service_;
  std::optional<CoordinatorService> coordinator_service_;
  std::optional<StatisticsService> statistics_service_;
  std::optional<HandshakeWatch> handshakes_;  // with TLS
  std::unique_ptr<GrpcServer> server_;
  InitialContent initial_;  // until Join() hands it over
  std::optional<GenerationOpener> opener_;
  bool healthy_ = true;  // as the health service reports; used by the ticker's thread only
  std::unique_ptr<LivePage> page_;  // in shard 0, if it is wanted
  std::optional<Ticker> limiter_ticker_;
  std::optional<Ticker> ticker_;
  std::optional<Ticker> checkpoint_ticker_;
  std::optional<ClusterLink> link_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;  // in shard 0, if it is wanted
  std::atomic<int> port_{0};
  std::string address_;
  std::unique_ptr<MetricsExporter> exporter_;  // the last member: it reads the others
};

void Server::Impl::MakeCoordinator() {
  for (const std::string& warning : JobWarnings(options_.job)) {
    options_.log->warn("job warning=\"{}\"", warning);
  }
  Coordinator::Options coordinator;
  coordinator.job = options_.job;
  coordinator.shard_count = options_.shards;
  coordinator.first_generation = options_.first_generation;
  coordinator.store = MakeStore(options_.job, options_.faults, options_.log);
  coordinator.restore = options_.restore;
  coordinator.lease_deadline = options_.lease_deadline;
  coordinator.history_steps = options_.history_steps;
  coordinator.histogram_steps = options_.tensorboard_histograms;
  coordinator.max_workers = options_.limits.workers;
  coordinator.max_lease_deadlines = options_.limits.lease_deadlines;
  caller_.emplace(
      job_hash_,
      [this](const Newcomer& newcomer, const absl::Status& status) {
        coordinator_->OnCalledBack(newcomer, status);
      },
      credentials_);
  coordinator.call_back = [this](const Newcomer& newcomer) { caller_->Call(newcomer); };
  coordinator.clock = options_.clock;
  coordinator.log = options_.log;
  coordinator_.emplace(std::move(coordinator));
  local_coordinator_.emplace(*coordinator_, options_.shard);
  coordinator_service_.emplace(*coordinator_, *refusals_, limiter_);
  statistics_service_.emplace(coordinator_->statistics(), limiter_);
}

ShardCoordinator& Server::Impl::shard_coordinator() {
  if (local_coordinator_) return *local_coordinator_;
  return *remote_coordinator_;
}

absl::Status Server::Impl::Listen() {
  ASSIGN_OR_RETURN(const HostPort listen, ParseHostPort("listen", options_.listen, 0));
  std::vector<grpc::Service*> services = {&parameter_service_};
  if (coordinator_service_) services.push_back(&*coordinator_service_);
  if (statistics_service_) services.push_back(&*statistics_service_);
  ASSIGN_OR_RETURN(
      const std::shared_ptr<grpc::ServerCredentials> protection,
      MakeServerCredentials({options_.tls, options_.token_file}, options_.shard, refusals_));
  if (options_.tls.given()) handshakes_.emplace(refusals_, options_.limits.handshake);
  ASSIGN_OR_RETURN(server_, GrpcServer::Start(listen, services, options_.log, options_.limits,
                                              protection, handshakes_ ? &*handshakes_ : nullptr));
  port_ = server_->port();
  limiter_ticker_.emplace(kLimiterTick, [this] {
    limiter_.Tick();
    flood_watch_.Tick();
  });
  server_->SetServing(kParameterService, true);
  if (coordinator_) server_->SetServing(kCoordinatorService, true);
  address_ = WithPort(AdvertisedAddress(options_), port_);
  options_.log->info("listening address={} advertise={} shard={} shards={} job={} job_hash={}",
                     WithPort(options_.listen, port_), address_, options_.shard, options_.shards,
                     options_.job.name, job_hash_.substr(0, 12));
  if (options_.insecure) {
    options_.log->warn(
        "INSECURE: no encryption, no authentication address={} effect=\"everybody who can reach it "
        "can read and change this training, and stop it\" advice=\"give --tls_ca, --tls_cert and "
        "--tls_key instead of --insecure\"",
        address_);
  }
  return absl::OkStatus();
}

absl::Status Server::Impl::ServePage() {
  if (!coordinator_ || options_.http.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(page_,
                   LivePage::Start({options_.http, options_.http_token_file}, *coordinator_));
  options_.log->info("page url={}", page_->url());
  return absl::OkStatus();
}

absl::Status Server::Impl::StartMetrics() {
  if (options_.metrics.address.empty()) return absl::OkStatus();
  ShardMetrics::Sources sources;
  sources.index = options_.shard;
  sources.shard = &shard_;
  sources.pool = &pool_;
  sources.limiter = &limiter_;
  sources.writer = checkpoint_writer();
  if (options_.job.checkpoint) sources.checkpoint_directory = options_.job.checkpoint->directory;
  std::vector<std::shared_ptr<prometheus::Collectable>> metrics;
  metrics.push_back(std::make_shared<ShardMetrics>(std::move(sources)));
  if (coordinator_) metrics.push_back(std::make_shared<CoordinatorMetrics>(*coordinator_));
  ASSIGN_OR_RETURN(exporter_, MetricsExporter::Start(options_.metrics, std::move(metrics)));
  options_.log->info("metrics address={}", exporter_->address());
  return absl::OkStatus();
}

absl::Status Server::Impl::StartTensorBoard() {
  if (options_.tensorboard.empty() || !coordinator_) return absl::OkStatus();
  ASSIGN_OR_RETURN(tensorboard_,
                   TensorBoardWriter::Open(options_.tensorboard, *coordinator_, options_.log));
  tensorboard_->Start();
  return absl::OkStatus();
}

void Server::Impl::Join() {
  if (coordinator_) {
    ticker_.emplace(kTick, [this] {
      coordinator_->Tick();
      const bool serving = !coordinator_->failed();
      if (serving != std::exchange(healthy_, serving)) SetHealth(serving);
    });
    checkpoint_ticker_.emplace(kCheckpointTick, [this] { coordinator_->WorkOnCheckpoints(); });
  } else {
    WarnOfLoopback();
  }
  GenerationOpener::Options opener;
  opener.job = options_.job;
  opener.shards = options_.shards;
  opener.self = identity_;
  opener.shard = &shard_;
  opener.pool = &pool_;
  opener.coordinator = &shard_coordinator();
  opener.checkpoint_writer = checkpoint_writer();
  opener.credentials = credentials_;
  opener.faults = options_.faults;
  opener.tracer = tracer_;
  opener.log = options_.log;
  opener_.emplace(std::move(opener), std::move(initial_));
  ClusterLink::Options link;
  link.self = {options_.shard, options_.shards, job_hash_, address_, identity_.incarnation};
  link.coordinator = &shard_coordinator();
  link.member = &*opener_;
  link.shard = &shard_;
  link.checkpoint_writer = checkpoint_writer();
  link.interval = options_.heartbeat_interval;
  link.coordinator_address = options_.coordinator;
  link.log = options_.log;
  link_.emplace(std::move(link));
  link_->Start();
}

// Sets the health of the server as a whole and of the coordinator: once the training has failed,
// they only report the reason. Pulling this shard's weights still works.
void Server::Impl::SetHealth(bool serving) {
  for (const char* service : {"", kCoordinatorService}) server_->SetServing(service, serving);
}

// Warns if this shard advertises a loopback address to a coordinator on another machine.
void Server::Impl::WarnOfLoopback() const {
  const absl::StatusOr<HostPort> self = ParseHostPort("", address_);
  const absl::StatusOr<HostPort> coordinator = ParseHostPort("", options_.coordinator);
  if (!self.ok() || !coordinator.ok()) return;
  if (!IsLoopback(self->host) || IsLoopback(coordinator->host)) return;
  options_.log->warn(
      "this shard advertises a loopback address advertise={} coordinator={}"
      " effect=\"the coordinator, on another machine, cannot reach it\""
      " advice=\"give --advertise with an address that it can reach\"",
      address_, options_.coordinator);
}

void Server::Impl::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  page_.reset();
  exporter_.reset();
  if (tensorboard_) tensorboard_->AwaitHistograms();
  if (remote_coordinator_) remote_coordinator_->CancelBeats();
  if (link_) link_->Stop();
  if (caller_) caller_->Close();
  if (writer_) writer_->Stop();
  // Calls that wait for other processes end now: they must not use up the grace of the others.
  if (coordinator_) coordinator_->Close();
  shard_.Close();
  server_->Shutdown(grace);
  ticker_.reset();
  checkpoint_ticker_.reset();
  if (tensorboard_) tensorboard_->Finish();
  if (opener_) opener_->Close();
  if (remote_coordinator_) remote_coordinator_->Close();
  server_.reset();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

absl::StatusOr<Server> Server::Start(Options options) {
  RETURN_IF_ERROR(CheckOptions(options));
  if (options.log == nullptr) options.log = MakeSilentLogger();
  ASSIGN_OR_RETURN(std::shared_ptr<const ClientCredentials> credentials,
                   ClientCredentials::Make(SecurityOfCalls(options)));
  const Partition partition(options.job.model, options.shards);
  const HeldEntries entries = EntriesOfShard(options.job.model, partition, options.shard);
  RETURN_IF_ERROR(CheckMemory(options.job, entries, FindMemoryLimit(), options.log));
  if (options.shard == 0) {
    ASSIGN_OR_RETURN(options.restore,
                     PrepareCheckpoints(options.job, {options.restore, options.no_restore},
                                        options.faults, options.log));
  }
  InitialContent initial(options.job, partition.ranges_of_shard(options.shard), options.log);
  if (!ExpectsCheckpoint(options.job, {options.restore, options.no_restore})) {
    RETURN_IF_ERROR(initial.Read());
  }
  auto impl =
      std::make_unique<Impl>(std::move(options), std::move(initial), std::move(credentials));
  RETURN_IF_ERROR(impl->Listen());
  RETURN_IF_ERROR(impl->ServePage());
  RETURN_IF_ERROR(impl->StartMetrics());
  RETURN_IF_ERROR(impl->StartTensorBoard());
  impl->Join();
  return Server(std::move(impl));
}

int Server::port() const { return impl_->port(); }
const std::string& Server::address() const { return impl_->address(); }
std::string Server::page_url() const { return impl_->page_url(); }
std::string Server::metrics_address() const { return impl_->metrics_address(); }
absl::Status Server::Wait() const { return impl_->Wait(); }
void Server::Shutdown(absl::Duration grace) { impl_->Shutdown(grace); }

}  // namespace percentdelta
