#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/address.h"
#include "common/channel.h"
#include "common/grpc_status.h"
#include "common/job_codec.h"
#include "common/job_validation.h"
#include "common/thread_pool.h"
#include "common/ticker.h"
#include "server/checkpoint/checkpoint_start.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/checkpoint/checkpoint_writer.h"
#include "server/checkpoint/slice_file.h"
#include "server/cluster_link.h"
#include "server/coordinator.h"
#include "server/memory_needed.h"
#include "server/rpc/peers.h"
#include "server/rpc/services.h"
#include "server/shard.h"
#include "server/update/optimizer.h"
#include "server/wire.h"

namespace percentdelta {
namespace {

constexpr auto kBeatDeadline = std::chrono::seconds(2);
constexpr absl::Duration kTick = absl::Milliseconds(50);
constexpr absl::Duration kCheckpointTick = absl::Milliseconds(10);
constexpr int kMaxStreams = 4096;
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kHandshakeTimeoutMs = 10'000;

const SteadyClock& TheSteadyClock() {
  static const SteadyClock kClock;
  return kClock;
}

uint64_t DrawIncarnation() {
  std::random_device device;  // not of the training: two processes must differ
  return (static_cast<uint64_t>(device()) << 32 | device()) | 1;
}

absl::Status CheckOptions(const Server::Options& options) {
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
    if (absl::Status status = CheckHostAndPort(name, value, lowest_port); !status.ok()) {
      return status;
    }
  }
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

// "host:0" with the port that was taken.
std::string WithPort(const std::string& address, int port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return absl::StrCat(address, ":", port);
  return address.substr(colon) == ":0" ? absl::StrCat(address.substr(0, colon + 1), port) : address;
}

}  // namespace

class Server::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        job_hash_(JobHash(options_.job)),
        tracer_(options_.trace, absl::StrCat("shard ", options_.shard)),
        pool_(options_.threads > 0 ? options_.threads
                                   : std::max(1U, std::thread::hardware_concurrency())),
        parameter_service_(shard_) {
    if (options_.clock == nullptr) options_.clock = &TheSteadyClock();
    if (options_.shard != 0) return;
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
    coordinator.clock = options_.clock;
    coordinator.log = options_.log;
    coordinator_.emplace(std::move(coordinator));
    coordinator_service_.emplace(*coordinator_);
    statistics_service_.emplace(coordinator_->statistics());
  }

  ~Impl() { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen();
  void Join();
  absl::Status Wait() const { return link_->Wait(); }
  void Shutdown(absl::Duration grace);

  int port() const { return port_; }
  const std::string& address() const { return address_; }

 private:
  absl::StatusOr<Coordinator::View> BeatRemote(const ShardBeat& beat) const;
  absl::Status Enter(const Coordinator::View& view);
  absl::StatusOr<ShardContent> ReadBegin(const Coordinator::View& view) const;

  Options options_;
  const std::string job_hash_;
  const Tracer tracer_;
  Shard shard_;
  std::optional<Coordinator> coordinator_;
  std::optional<CheckpointWriter> writer_;
  ThreadPool pool_;  // destroyed before the shard and the coordinator, when its tasks have run
  ParameterServerService parameter_service_;
  std::optional<CoordinatorService> coordinator_service_;
  std::optional<StatisticsService> statistics_service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> coordinator_channel_;
  std::unique_ptr<v1::Coordinator::Stub> remote_coordinator_;
  std::shared_ptr<Peers> peers_;  // of the present generation; the link's thread alone
  std::optional<Ticker> ticker_;
  std::optional<Ticker> checkpoint_ticker_;
  std::optional<ClusterLink> link_;
  int port_ = 0;
  std::string address_;
};

absl::Status Server::Impl::Listen() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port_);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kServerKeepaliveMinMs);
  builder.RegisterService(&parameter_service_);
  if (coordinator_service_) builder.RegisterService(&*coordinator_service_);
  if (statistics_service_) builder.RegisterService(&*statistics_service_);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port_ == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options_.listen,
                     ": is the port in use, the address another machine's? Give another with"
                     " --listen=HOST:PORT"));
  }
  address_ = WithPort(options_.advertise.empty() ? options_.listen : options_.advertise, port_);
  options_.log->info("listening address={} advertise={} shard={} shards={} job={} job_hash={}",
                     WithPort(options_.listen, port_), address_, options_.shard, options_.shards,
                     options_.job.name, job_hash_.substr(0, 12));
  return absl::OkStatus();
}

void Server::Impl::Join() {
  ClusterLink::Options link;
  link.self = {options_.shard, options_.shards, job_hash_, address_, DrawIncarnation()};
  if (coordinator_) {
    ticker_.emplace(kTick, [this] { coordinator_->Tick(); });
    checkpoint_ticker_.emplace(kCheckpointTick, [this] { coordinator_->WorkOnCheckpoints(); });
    link.beat = [this](const ShardBeat& beat) { return coordinator_->Heartbeat(beat); };
  } else {
    coordinator_channel_ = MakeChannel(options_.coordinator);
    remote_coordinator_ = v1::Coordinator::NewStub(coordinator_channel_);
    link.beat = [this](const ShardBeat& beat) { return BeatRemote(beat); };
  }
  link.enter = [this](const Coordinator::View& view) { return Enter(view); };
  link.describe = [this](ShardBeat& beat) {
    const absl::StatusOr<std::shared_ptr<ShardState>> state = shard_.At(beat.generation);
    if (!state.ok()) return;
    beat.gathered_steps = (*state)->gathered_steps();
    beat.missing_slots = (*state)->MissingSlots(beat.gathered_steps);
  };
  if (options_.job.checkpoint) {
    writer_.emplace(CheckpointWriter::Options{options_.job, options_.shard, options_.shards,
                                              options_.faults, options_.log,
                                              [this] { link_->Wake(); }});
    link.parts = [this] { return writer_->parts(); };
    link.heard = [this](size_t count) { writer_->Forget(count); };
  }
  link.interval = options_.heartbeat_interval;
  link.coordinator = options_.coordinator;
  link.log = options_.log;
  link_.emplace(std::move(link));
  link_->Start();
}

absl::StatusOr<Coordinator::View> Server::Impl::BeatRemote(const ShardBeat& beat) const {
  v1::HeartbeatRequest request;
  ToProto(beat, request);
  v1::HeartbeatResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kBeatDeadline);
  const grpc::Status status = remote_coordinator_->Heartbeat(&context, request, &response);
  if (!status.ok()) {
    absl::Status failure = FromGrpc(status);
    if (absl::IsUnavailable(failure)) ConnectAgain(*coordinator_channel_);
    return failure;
  }
  if (response.generation() != 0 && response.shard_addresses_size() != options_.shards) {
    return absl::DataLossError(absl::StrCat("the coordinator's answer: expected ", options_.shards,
                                            " shards, got ", response.shard_addresses_size()));
  }
  return Coordinator::View{response.generation(),
                           {response.shard_addresses().begin(), response.shard_addresses().end()},
                           {response.missing_shards().begin(), response.missing_shards().end()},
                           response.checkpoint_directory(),
                           response.checkpoint_step()};
}

absl::StatusOr<ShardContent> Server::Impl::ReadBegin(const Coordinator::View& view) const {
  ShardContent begin;
  begin.generation = view.generation;
  begin.step = view.step;
  if (view.checkpoint.empty()) return begin;
  options_.faults.Pass("restore");
  // The coordinator has checked the files as it sees them. This shard may see others.
  const absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(view.checkpoint, options_.job);
  if (!checkpoint.ok()) {
    return absl::Status(checkpoint.status().code(),
                        absl::StrCat(checkpoint.status().message(),
                                     "; all servers must see the checkpoints' directory"));
  }
  if (checkpoint->manifest.step != view.step) {
    return absl::DataLossError(absl::StrCat(view.checkpoint, ": expected step ", view.step,
                                            ", got ", checkpoint->manifest.step));
  }
  const Partition partition(options_.job.model, options_.shards);
  absl::StatusOr<std::vector<SliceContent>> slices =
      ReadSlices(view.checkpoint, checkpoint->manifest.shards, options_.job.model,
                 StateNames(options_.job), partition.slices_of_shard(options_.shard));
  if (!slices.ok()) return slices.status();
  begin.slices = *std::move(slices);
  return begin;
}

absl::Status Server::Impl::Enter(const Coordinator::View& view) {
  absl::StatusOr<ShardContent> begin = ReadBegin(view);
  if (!begin.ok()) return begin.status();
  if (writer_) writer_->Enter(view.generation, view.step);
  auto peers =
      std::make_shared<Peers>(view.generation, view.addresses, options_.job.model, options_.log);
  ShardState::Options state;
  state.job = options_.job;
  state.shard = options_.shard;
  state.shards = options_.shards;
  state.generation = view.generation;
  state.pool = &pool_;
  state.tracer = tracer_;
  state.faults = options_.faults;
  state.begin = *std::move(begin);
  if (writer_) {
    state.keep = [this](ShardContent content) { writer_->Write(std::move(content)); };
  }
  state.gathered = [this, generation = view.generation](int64_t steps) {
    if (coordinator_) {
      coordinator_->Gathered(generation, options_.shard, steps);
    } else {
      link_->Wake();
    }
  };
  state.reduce_at = [peers](int home, const BlockSums& sums, NormsCallback done) {
    peers->ReduceNorms(home, sums, std::move(done));
  };
  state.collect_at = [peers](int home, const DeltaSums& sums) { peers->CollectDeltas(home, sums); };
  state.report = [this, peers](const TensorUpdate& update) {
    if (coordinator_) {
      // Refused if a newer generation has been opened meanwhile, which is as it should be.
      coordinator_->ReportStatistics(peers->generation(), {update}).IgnoreError();
    } else {
      peers->ReportStatistics(update);
    }
  };
  shard_.Open(std::make_shared<ShardState>(std::move(state)));
  peers_.swap(peers);
  if (peers != nullptr) peers->Close();
  return absl::OkStatus();
}

void Server::Impl::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  if (link_) link_->Stop();
  if (writer_) writer_->Stop();
  // What waits for other people's work must not use up the grace of what is under way.
  if (coordinator_) coordinator_->Close();
  shard_.Close();
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace));
  ticker_.reset();
  checkpoint_ticker_.reset();
  if (peers_ != nullptr) peers_->Close();
  server_.reset();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

absl::StatusOr<Server> Server::Start(Options options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  if (options.log == nullptr) options.log = MakeSilentLogger();
  const int64_t entries = Partition(options.job.model, options.shards).load(options.shard);
  if (absl::Status status = CheckMemory(options.job, entries, FindMemoryLimit(), options.log);
      !status.ok()) {
    return status;
  }
  if (options.shard == 0) {
    absl::StatusOr<std::string> restore = PrepareCheckpoints(
        options.job, {options.restore, options.no_restore}, options.faults, options.log);
    if (!restore.ok()) return restore.status();
    options.restore = *std::move(restore);
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  if (absl::Status status = impl->Listen(); !status.ok()) return status;
  impl->Join();
  return Server(std::move(impl));
}

int Server::port() const { return impl_->port(); }
const std::string& Server::address() const { return impl_->address(); }
absl::Status Server::Wait() const { return impl_->Wait(); }
void Server::Shutdown(absl::Duration grace) { impl_->Shutdown(grace); }

}  // namespace percentdelta
