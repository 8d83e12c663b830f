// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/remote_peers.h"

#include <grpcpp/client_context.h>

#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/transience.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/block_sums_proto.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
constexpr absl::Duration kNormsTimeout = absl::Seconds(30);
constexpr absl::Duration kIdentifyTimeout = absl::Seconds(3);

// A peer that does not answer is an error only after this time: it may be starting.
constexpr absl::Duration kStartupTime = absl::Seconds(5);

absl::Duration Now() { return SteadyClock().Now(); }

absl::Status Closed() { return absl::CancelledError("the generation has ended"); }

}  // namespace

struct RemotePeers::IdentifyCall {
  int shard = 0;
  v1::IdentifyRequest request;
  v1::IdentifyResponse response;
  std::unique_ptr<grpc::ClientContext> context;  // of the current attempt; guarded by mutex_
};

struct RemotePeers::NormsCall {
  int home = 0;
  v1::ReduceNormsRequest request;
  v1::ReduceNormsResponse response;
  std::function<void(const absl::Status& status, const v1::ReduceNormsResponse& response)> done;
  std::unique_ptr<grpc::ClientContext> context;  // of the current attempt; guarded by mutex_
};

RemotePeers::RemotePeers(uint64_t generation, const std::vector<std::string>& addresses,
                         const ModelSpec& model, ShardIdentity self, Logger log,
                         const std::shared_ptr<const ClientCredentials>& credentials)
    : generation_(generation),
      addresses_(addresses),
      model_(model),
      self_(std::move(self)),
      log_(std::move(log)),
      created_at_(Now()) {
  for (const std::string& address : addresses) {
    channels_.push_back(MakeChannel(address, credentials));
    stubs_.push_back(v1::ParameterServer::NewStub(channels_.back()));
  }
  ticker_.emplace(kRetryDelay, [this] { Retry(); });
}

RemotePeers::~RemotePeers() = default;

void RemotePeers::Close() {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return identify_calls_.empty() && norms_calls_.empty();
  };
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (const auto& call : identify_calls_) call->context->TryCancel();
    for (const auto& call : norms_calls_) call->context->TryCancel();
  }
  Retry();  // ends the calls to be repeated
  {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&idle));
  }
  ticker_.reset();
}

void RemotePeers::Retry() {
  std::vector<std::shared_ptr<IdentifyCall>> identify_calls;
  std::vector<std::shared_ptr<NormsCall>> norms_calls;
  {
    absl::MutexLock lock(&mutex_);
    identify_calls.swap(identify_retries_);
    norms_calls.swap(norms_retries_);
  }
  for (const auto& call : identify_calls) {
    ResetBackoff(*channels_[call->shard]);
    Send(call);
  }
  for (const auto& call : norms_calls) {
    ResetBackoff(*channels_[call->home]);
    Send(call);
  }
}

void RemotePeers::IdentifyAll() {
  for (int shard = 0; shard < static_cast<int>(stubs_.size()); ++shard) {
    if (shard == self_.shard) continue;
    auto call = std::make_shared<IdentifyCall>();
    call->shard = shard;
    Send(call);
  }
}

void RemotePeers::Send(const std::shared_ptr<IdentifyCall>& call) {
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) {
      identify_calls_.erase(call);
      return;
    }
    call->context = std::make_unique<grpc::ClientContext>();
    SetDeadline(*call->context, kIdentifyTimeout);
    identify_calls_.insert(call);
  }
  stubs_[call->shard]->async()->Identify(
      call->context.get(), &call->request, &call->response,
      [self = shared_from_this(), call](const grpc::Status& status) {
        self->End(call, FromGrpc(status));
      });
}

void RemotePeers::End(const std::shared_ptr<IdentifyCall>& call, const absl::Status& status) {
  const absl::Status identity =
      CheckIdentity({call->shard, self_.job_hash, 0}, addresses_[call->shard],
                    absl::StrCat("shard ", self_.shard), status, call->response);
  absl::MutexLock lock(&mutex_);
  if (identity.ok() || closed_) {
    identify_calls_.erase(call);
    connection_errors_.erase(call->shard);
    return;
  }
  identify_retries_.push_back(call);
  if (absl::IsFailedPrecondition(identity) || Now() - created_at_ > kStartupTime) {
    connection_errors_[call->shard] = std::string(identity.message());
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

void RemotePeers::Send(const std::shared_ptr<NormsCall>& call) {
  bool closed = false;
  {
    absl::MutexLock lock(&mutex_);
    closed = closed_;
    call->context = std::make_unique<grpc::ClientContext>();
    if (!closed) norms_calls_.insert(call);
  }
  if (closed) return Finish(call, Closed());
  SetDeadline(*call->context, kNormsTimeout);
  stubs_[call->home]->async()->ReduceNorms(
      call->context.get(), &call->request, &call->response,
      [self = shared_from_this(), call](const grpc::Status& status) {
        self->End(call, FromGrpc(status));
      });
}

void RemotePeers::End(const std::shared_ptr<NormsCall>& call, const absl::Status& status) {
  if (status.ok()) return Finish(call, status);
  if (absl::IsFailedPrecondition(status)) {
    // Another server has restarted: this shard's next heartbeat brings the new generation.
    log_->info("sums are of an ended generation tensor={} step={}", call->request.tensor(),
               call->request.step());
    return Finish(call, status);
  }
  if (!ShouldRetryPeerCall(status)) {
    log_->error("sums refused tensor={} step={} home={} error=\"{}\"", call->request.tensor(),
                call->request.step(), call->home, status.message());
    return Finish(call, status);
  }
  {
    absl::MutexLock lock(&mutex_);
    if (!closed_) {
      norms_retries_.push_back(call);
      return;
    }
  }
  Finish(call, Closed());
}

void RemotePeers::Finish(const std::shared_ptr<NormsCall>& call, const absl::Status& status) {
  call->done(status, call->response);
  call->done = nullptr;
  absl::MutexLock lock(&mutex_);
  norms_calls_.erase(call);
}

}  // namespace percentdelta
