#include "server/rpc/reduce_norms.h"

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/block_sums_proto.h"

namespace percentdelta {
namespace {

class ReduceNormsCall : public grpc::ServerUnaryReactor {
 public:
  static ReduceNormsCall* Start(const Shard& shard, const v1::ReduceNormsRequest& request,
                                v1::ReduceNormsResponse* response) {
    auto call = std::make_shared<ReduceNormsCall>();
    call->self_ = call;
    call->response_ = response;
    absl::StatusOr<std::shared_ptr<ShardState>> state = shard.At(request.generation());
    if (!state.ok()) {
      call->Answer(state.status());
      return call.get();
    }
    if (request.deltas_size() > 0) {
      const absl::StatusOr<DeltaSums> deltas = DeltasFromProto((*state)->job().model, request);
      call->End(deltas.ok() ? (*state)->Collect(*deltas) : deltas.status(), nullptr);
      return call.get();
    }
    absl::StatusOr<BlockSums> sums = NormsFromProto((*state)->job().model, request);
    if (!sums.ok()) {
      call->Answer(sums.status());
      return call.get();
    }
    // The reducer retains the callback until the norms are complete; it must not retain every call
    // that is cancelled and repeated meanwhile.
    (*state)->reducer().Contribute(*sums, [weak = std::weak_ptr<ReduceNormsCall>(call)](
                                              const absl::StatusOr<NormSums>& norms) {
      if (auto waiting = weak.lock()) waiting->Answer(norms);
    });
    return call.get();
  }

  void OnCancel() override { Answer(absl::CancelledError("the caller cancelled the call")); }

  void OnDone() override { self_.reset(); }

 private:
  void Answer(const absl::StatusOr<NormSums>& norms) {
    End(norms.status(), norms.ok() ? &*norms : nullptr);
  }

  // Ignores all answers but the first.
  void End(const absl::Status& status, const NormSums* norms) {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(answered_, true)) return;
    }
    if (norms != nullptr) ToProto(*norms, *response_->mutable_norms());
    Finish(ToGrpc(status));
  }

  std::shared_ptr<ReduceNormsCall> self_;  // until OnDone
  v1::ReduceNormsResponse* response_ = nullptr;

  absl::Mutex mutex_;
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* StartReduceNorms(const Shard& shard,
                                           const v1::ReduceNormsRequest& request,
                                           v1::ReduceNormsResponse* response) {
  return ReduceNormsCall::Start(shard, request, response);
}

}  // namespace percentdelta
