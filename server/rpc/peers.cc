#include "server/rpc/peers.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/transience.h"
#include "common/cluster/statistics_proto.h"
#include "common/transport/channel.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/block_sums_proto.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
constexpr auto kDeadline = std::chrono::seconds(30);
constexpr auto kGreetingDeadline = std::chrono::seconds(3);

// A report names at most so many updates, and so many are kept for a coordinator that is away.
constexpr size_t kReportBatch = 256;
constexpr size_t kReportsKept = 65536;

// A peer that cannot be reached is trouble after this time: it may just be starting.
constexpr absl::Duration kPatience = absl::Seconds(5);

absl::Duration Now() { return SteadyClock().Now(); }

}  // namespace

struct Peers::NormsCall {
  int home = 0;
  v1::ReduceNormsRequest request;
  v1::ReduceNormsResponse response;
  NormsCallback done;
  std::unique_ptr<grpc::ClientContext> context;  // of the present attempt; guarded by mutex_
};

// Until the peer has answered that it is the shard that it should be.
struct Peers::Greeting {
  int shard = 0;
  v1::IdentifyRequest request;
  v1::IdentifyResponse response;
  std::unique_ptr<grpc::ClientContext> context;  // of the present attempt; guarded by mutex_
};

struct Peers::ReportCall {
  v1::ReportStatisticsRequest request;
  v1::ReportStatisticsResponse response;
  grpc::ClientContext context;
};

Peers::Peers(uint64_t generation, const std::vector<std::string>& addresses, const ModelSpec& model,
             ShardIdentity self, Logger log)
    : generation_(generation),
      addresses_(addresses),
      model_(model),
      self_(std::move(self)),
      log_(std::move(log)),
      begin_(Now()) {
  for (const std::string& address : addresses) {
    channels_.push_back(MakeChannel(address));
    shards_.push_back(v1::ParameterServer::NewStub(channels_.back()));
  }
  coordinator_channel_ = MakeChannel(addresses.front());
  coordinator_ = v1::Coordinator::NewStub(coordinator_channel_);
  ticker_.emplace(kRetryDelay, [this] { Repeat(); });
}

Peers::~Peers() = default;

void Peers::Close() {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return calls_.empty() && greetings_.empty() && report_ == nullptr;
  };
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (const auto& call : calls_) call->context->TryCancel();
    for (const auto& greeting : greetings_) greeting->context->TryCancel();
    if (report_ != nullptr) report_->context.TryCancel();
  }
  Repeat();  // ends them
  {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&idle));
  }
  ticker_.reset();
}

void Peers::Repeat() {
  std::vector<std::shared_ptr<NormsCall>> calls;
  std::vector<std::shared_ptr<Greeting>> greetings;
  bool report = false;
  {
    absl::MutexLock lock(&mutex_);
    calls.swap(waiting_calls_);
    greetings.swap(waiting_greetings_);
    report = std::exchange(report_waits_, false);
  }
  for (const auto& call : calls) {
    ResetBackoff(*channels_[call->home]);
    Send(call);
  }
  for (const auto& greeting : greetings) {
    ResetBackoff(*channels_[greeting->shard]);
    SendGreeting(greeting);
  }
  if (report) {
    ResetBackoff(*coordinator_channel_);
    SendReports();
  }
}

void Peers::Greet() {
  for (int shard = 0; shard < static_cast<int>(shards_.size()); ++shard) {
    if (shard == self_.shard) continue;
    auto greeting = std::make_shared<Greeting>();
    greeting->shard = shard;
    SendGreeting(greeting);
  }
}

void Peers::SendGreeting(const std::shared_ptr<Greeting>& greeting) {
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) {
      greetings_.erase(greeting);
      return;
    }
    greeting->context = std::make_unique<grpc::ClientContext>();
    greeting->context->set_deadline(std::chrono::system_clock::now() + kGreetingDeadline);
    greetings_.insert(greeting);
  }
  shards_[greeting->shard]->async()->Identify(
      greeting->context.get(), &greeting->request, &greeting->response,
      [self = shared_from_this(), greeting](const grpc::Status& status) {
        self->EndGreeting(greeting, FromGrpc(status));
      });
}

void Peers::EndGreeting(const std::shared_ptr<Greeting>& greeting, const absl::Status& status) {
  const absl::Status identity =
      CheckIdentity({greeting->shard, self_.job_hash, 0}, addresses_[greeting->shard],
                    absl::StrCat("shard ", self_.shard), status, greeting->response);
  absl::MutexLock lock(&mutex_);
  if (identity.ok() || closed_) {
    greetings_.erase(greeting);
    trouble_.erase(greeting->shard);
    return;
  }
  waiting_greetings_.push_back(greeting);
  if (absl::IsFailedPrecondition(identity) || Now() - begin_ > kPatience) {
    trouble_[greeting->shard] = std::string(identity.message());
  }
}

std::string Peers::trouble() const {
  absl::MutexLock lock(&mutex_);
  return trouble_.empty() ? "" : trouble_.begin()->second;
}

void Peers::ReduceNorms(int home, const BlockSums& sums, NormsCallback done) {
  auto call = std::make_shared<NormsCall>();
  call->home = home;
  call->done = std::move(done);
  call->request.set_generation(generation_);
  call->request.set_step(sums.step);
  call->request.set_tensor(model_.tensors[sums.tensor].name);
  call->request.set_first_block(sums.first_block);
  for (const NormSums& block : sums.blocks) ToProto(block, *call->request.add_blocks());
  Send(call);
}

void Peers::CollectDeltas(int home, const DeltaSums& sums) {
  auto call = std::make_shared<NormsCall>();
  call->home = home;
  call->done = [](const absl::StatusOr<NormSums>&) {};
  call->request.set_generation(generation_);
  call->request.set_step(sums.step);
  call->request.set_tensor(model_.tensors[sums.tensor].name);
  call->request.set_first_block(sums.first_block);
  call->request.mutable_deltas()->Assign(sums.blocks.begin(), sums.blocks.end());
  Send(call);
}

void Peers::End(const std::shared_ptr<NormsCall>& call, absl::StatusOr<NormSums> norms) {
  call->done(std::move(norms));
  call->done = nullptr;
  absl::MutexLock lock(&mutex_);
  calls_.erase(call);
}

void Peers::Send(const std::shared_ptr<NormsCall>& call) {
  bool closed = false;
  {
    absl::MutexLock lock(&mutex_);
    closed = closed_;
    call->context = std::make_unique<grpc::ClientContext>();
    if (!closed) calls_.insert(call);
  }
  if (closed) return End(call, absl::CancelledError("the generation has ended"));
  call->context->set_deadline(std::chrono::system_clock::now() + kDeadline);
  shards_[call->home]->async()->ReduceNorms(
      call->context.get(), &call->request, &call->response,
      [self = shared_from_this(), call](const grpc::Status& grpc_status) {
        const absl::Status status = FromGrpc(grpc_status);
        if (status.ok()) return self->End(call, FromProto(call->response.norms()));
        if (absl::IsFailedPrecondition(status)) {
          // Another server has come back: ours will hear of it with its next beat.
          self->log_->info("sums are of an ended generation tensor={} step={}",
                           call->request.tensor(), call->request.step());
          return self->End(call, status);
        }
        if (!ShouldRetryPeerCall(status)) {
          self->log_->error("sums refused tensor={} step={} home={} error=\"{}\"",
                            call->request.tensor(), call->request.step(), call->home,
                            status.message());
          return self->End(call, status);
        }
        bool closed = false;
        {
          absl::MutexLock lock(&self->mutex_);
          closed = self->closed_;
          if (!closed) self->waiting_calls_.push_back(call);
        }
        if (closed) self->End(call, absl::CancelledError("the generation has ended"));
      });
}

void Peers::ReportStatistics(const TensorStatistics& update) {
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || reports_.size() >= kReportsKept) return;
    reports_.push_back(update);
    if (report_ != nullptr) return;
    report_ = std::make_shared<ReportCall>();  // from here on somebody is sending
  }
  SendReports();
}

void Peers::SendReports() {
  auto call = std::make_shared<ReportCall>();
  call->request.set_generation(generation_);
  {
    absl::MutexLock lock(&mutex_);
    const size_t count = std::min(kReportBatch, reports_.size());
    if (closed_ || count == 0) {
      report_ = nullptr;
      return;
    }
    for (size_t i = 0; i < count; ++i) ToProto(reports_[i], *call->request.add_updates());
    report_ = call;
  }
  call->context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  coordinator_->async()->ReportStatistics(
      &call->context, &call->request, &call->response,
      [self = shared_from_this(), call](const grpc::Status& grpc_status) {
        const absl::Status status = FromGrpc(grpc_status);
        if (ShouldRetryPeerCall(status)) {
          absl::MutexLock lock(&self->mutex_);
          if (self->closed_) {
            self->report_ = nullptr;
          } else {
            self->report_waits_ = true;
          }
          return;
        }
        // Another server has come back: ours will hear of it with its next beat.
        const bool ended = absl::IsFailedPrecondition(status);
        if (ended) {
          self->log_->info("statistics are of an ended generation error=\"{}\"", status.message());
        } else if (!status.ok()) {
          self->log_->warn("statistics refused error=\"{}\"", status.message());
        }
        {
          absl::MutexLock lock(&self->mutex_);
          const auto first = self->reports_.begin();
          self->reports_.erase(first,
                               ended ? self->reports_.end() : first + call->request.updates_size());
        }
        self->SendReports();
      });
}

}  // namespace percentdelta
