#include "server/rpc/remote_peers.h"

#include <grpcpp/client_context.h>

#include <chrono>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/transience.h"
#include "common/transport/channel.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/block_sums_proto.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
constexpr auto kDeadline = std::chrono::seconds(30);
constexpr auto kGreetingDeadline = std::chrono::seconds(3);

// A peer that cannot be reached is trouble after this time: it may just be starting.
constexpr absl::Duration kPatience = absl::Seconds(5);

absl::Duration Now() { return SteadyClock().Now(); }

}  // namespace

struct RemotePeers::NormsCall {
  int home = 0;
  v1::ReduceNormsRequest request;
  v1::ReduceNormsResponse response;
  std::function<void(const absl::Status& status, const v1::ReduceNormsResponse& response)> done;
  std::unique_ptr<grpc::ClientContext> context;  // of the present attempt; guarded by mutex_
};

// Until the peer has answered that it is the shard that it should be.
struct RemotePeers::Greeting {
  int shard = 0;
  v1::IdentifyRequest request;
  v1::IdentifyResponse response;
  std::unique_ptr<grpc::ClientContext> context;  // of the present attempt; guarded by mutex_
};

RemotePeers::RemotePeers(uint64_t generation, const std::vector<std::string>& addresses,
                         const ModelSpec& model, ShardIdentity self, Logger log)
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
  ticker_.emplace(kRetryDelay, [this] { Repeat(); });
}

RemotePeers::~RemotePeers() = default;

void RemotePeers::Close() {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return calls_.empty() && greetings_.empty();
  };
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (const auto& call : calls_) call->context->TryCancel();
    for (const auto& greeting : greetings_) greeting->context->TryCancel();
  }
  Repeat();  // ends them
  {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&idle));
  }
  ticker_.reset();
}

void RemotePeers::Repeat() {
  std::vector<std::shared_ptr<NormsCall>> calls;
  std::vector<std::shared_ptr<Greeting>> greetings;
  {
    absl::MutexLock lock(&mutex_);
    calls.swap(waiting_calls_);
    greetings.swap(waiting_greetings_);
  }
  for (const auto& call : calls) {
    ResetBackoff(*channels_[call->home]);
    Send(call);
  }
  for (const auto& greeting : greetings) {
    ResetBackoff(*channels_[greeting->shard]);
    SendGreeting(greeting);
  }
}

void RemotePeers::Greet() {
  for (int shard = 0; shard < static_cast<int>(shards_.size()); ++shard) {
    if (shard == self_.shard) continue;
    auto greeting = std::make_shared<Greeting>();
    greeting->shard = shard;
    SendGreeting(greeting);
  }
}

void RemotePeers::SendGreeting(const std::shared_ptr<Greeting>& greeting) {
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

void RemotePeers::EndGreeting(const std::shared_ptr<Greeting>& greeting,
                              const absl::Status& status) {
  const absl::Status identity =
      CheckIdentity({greeting->shard, self_.job_hash, 0}, addresses_[greeting->shard],
                    absl::StrCat("shard ", self_.shard), status, greeting->response);
  absl::MutexLock lock(&mutex_);
  if (identity.ok() || closed_) {
    greetings_.erase(greeting);
    connection_errors_.erase(greeting->shard);
    return;
  }
  waiting_greetings_.push_back(greeting);
  if (absl::IsFailedPrecondition(identity) || Now() - begin_ > kPatience) {
    connection_errors_[greeting->shard] = std::string(identity.message());
  }
}

std::string RemotePeers::connection_error() const {
  absl::MutexLock lock(&mutex_);
  return connection_errors_.empty() ? "" : connection_errors_.begin()->second;
}

template <typename Sum>
std::shared_ptr<RemotePeers::NormsCall> RemotePeers::MakeCall(int home,
                                                              const SliceSums<Sum>& sums) const {
  auto call = std::make_shared<NormsCall>();
  call->home = home;
  call->request.set_generation(generation_);
  ToProto(model_, sums, call->request);
  return call;
}

void RemotePeers::ReduceNorms(int home, const BlockSums& sums, NormsCallback done) {
  const std::shared_ptr<NormsCall> call = MakeCall(home, sums);
  call->done = [done = std::move(done)](const absl::Status& status,
                                        const v1::ReduceNormsResponse& response) {
    if (!status.ok()) return done(status);
    done(FromProto(response.norms()));
  };
  Send(call);
}

void RemotePeers::ReduceDeltaNorms(int home, const ProposedSums& sums, DeltaNormsCallback done) {
  const std::shared_ptr<NormsCall> call = MakeCall(home, sums);
  call->done = [done = std::move(done)](const absl::Status& status,
                                        const v1::ReduceNormsResponse& response) {
    if (!status.ok()) return done(status);
    done(FromProto(response.proposed()));
  };
  Send(call);
}

void RemotePeers::CollectDeltas(int home, const DeltaSums& sums) {
  const std::shared_ptr<NormsCall> call = MakeCall(home, sums);
  call->done = [](const absl::Status&, const v1::ReduceNormsResponse&) {};
  Send(call);
}

void RemotePeers::End(const std::shared_ptr<NormsCall>& call, const absl::Status& status) {
  call->done(status, call->response);
  call->done = nullptr;
  absl::MutexLock lock(&mutex_);
  calls_.erase(call);
}

void RemotePeers::Send(const std::shared_ptr<NormsCall>& call) {
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
        if (status.ok()) return self->End(call, status);
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

}  // namespace percentdelta
