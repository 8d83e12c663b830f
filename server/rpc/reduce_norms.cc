// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/reduce_norms.h"

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/block_sums_proto.h"
#include "server/rpc/request.h"

namespace percentdelta {
namespace {

class ReduceNormsCall : public grpc::ServerUnaryReactor {
 public:
  static ReduceNormsCall* Start(const Shard& shard, CallLimiter& limiter, const CallPeer& peer,
                                const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response) {
    auto call = std::make_shared<ReduceNormsCall>();
    call->self_ = call;
    call->response_ = response;
    absl::StatusOr<CallLimiter::Place> place = limiter.Admit(CallKind::kNorms, peer);
    if (!place.ok()) {
      call->End(place.status());
      return call.get();
    }
    call->place_ = *std::move(place);
    call->place_.Moved(/*busy=*/false);
    v1::ReduceNormsRequest request;
    const absl::Status decoded = DecodeRequest(limiter.limits(), Sender::kServer, bytes, request);
    if (!decoded.ok()) {
      limiter.Refused(peer, RefusalWeight(bytes));
      call->End(decoded);
      return call.get();
    }
    absl::StatusOr<std::shared_ptr<ShardState>> state = shard.At(request.generation());
    if (!state.ok()) {
      call->End(state.status());
      return call.get();
    }
    call->Handle(**state, request);
    return call.get();
  }

  void OnCancel() override { End(absl::CancelledError("the caller cancelled the call")); }

  void OnDone() override {
    place_.Release();
    self_.reset();
  }

 private:
  void Handle(ShardState& state, const v1::ReduceNormsRequest& request) {
    const ModelSpec& model = state.job().model;
    if (request.deltas_size() > 0) {
      const absl::StatusOr<DeltaSums> deltas = DeltasFromProto(model, request);
      End(deltas.ok() ? state.Collect(*deltas) : deltas.status());
    } else if (request.proposed_size() > 0) {
      const absl::StatusOr<ProposedSums> proposed = ProposedFromProto(model, request);
      if (!proposed.ok()) return End(proposed.status());
      state.ReduceDeltaNorms(*proposed, Answer<DeltaNorms>());
    } else {
      const absl::StatusOr<BlockSums> sums = NormsFromProto(model, request);
      if (!sums.ok()) return End(sums.status());
      state.ReduceNorms(*sums, Answer<NormSums>());
    }
  }

  // Returns a callback that answers the call. The reducer retains it until the norms are complete;
  // it must not retain every call that is cancelled and repeated meanwhile.
  template <typename Sum>
  ReductionCallback<Sum> Answer() {
    return [weak = std::weak_ptr<ReduceNormsCall>(self_)](const absl::StatusOr<Sum>& sum) {
      const std::shared_ptr<ReduceNormsCall> waiting = weak.lock();
      if (waiting == nullptr) return;
      waiting->End(sum.status(), [&](v1::ReduceNormsResponse& response) { Set(*sum, response); });
    };
  }

  static void Set(const NormSums& norms, v1::ReduceNormsResponse& response) {
    ToProto(norms, *response.mutable_norms());
  }
  static void Set(const DeltaNorms& norms, v1::ReduceNormsResponse& response) {
    ToProto(norms, *response.mutable_proposed());
  }

  void End(const absl::Status& status) {
    End(status, [](v1::ReduceNormsResponse&) {});
  }

  // Ignores all answers but the first, which `fill` writes if `status` is OK.
  template <typename Fill>
  void End(const absl::Status& status, Fill fill) {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(answered_, true)) return;
    }
    if (status.ok()) {
      v1::ReduceNormsResponse response;
      fill(response);
      *response_ = EncodeMessage(response);
    }
    Finish(ToGrpc(status));
  }

  CallLimiter::Place place_;
  std::shared_ptr<ReduceNormsCall> self_;  // until OnDone
  grpc::ByteBuffer* response_ = nullptr;

  absl::Mutex mutex_;
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* StartReduceNorms(const Shard& shard, CallLimiter& limiter,
                                           const CallPeer& peer, const grpc::ByteBuffer& request,
                                           grpc::ByteBuffer* response) {
  return ReduceNormsCall::Start(shard, limiter, peer, request, response);
}

}  // namespace percentdelta
