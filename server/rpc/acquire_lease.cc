// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/acquire_lease.h"

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/cluster/lease_proto.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

class AcquireLeaseCall : public grpc::ServerUnaryReactor {
 public:
  AcquireLeaseCall(Coordinator& coordinator, CallLimiter& limiter, CallPeer peer,
                   const LeaseIds& ids, grpc::ByteBuffer* response)
      : coordinator_(coordinator),
        limiter_(limiter),
        peer_(std::move(peer)),
        ids_(ids),
        response_(response) {}

  void Start(const v1::AcquireLeaseRequest& request, const std::string& worker) {
    absl::StatusOr<CallLimiter::Place> place = limiter_.Admit(CallKind::kLease, peer_);
    if (!place.ok()) {
      Finish(ToGrpc(place.status()));
      Release();
      return;
    }
    place_ = *std::move(place);
    place_.Moved(/*busy=*/false);
    WorkerIdentity identity = FromProto(request);
    identity.name = worker;
    const uint64_t wait =
        coordinator_.Acquire(identity, absl::Milliseconds(request.max_wait_ms()),
                             [this](absl::StatusOr<Lease> lease) { Answer(std::move(lease)); });
    bool cancelled = false;
    {
      absl::MutexLock lock(&mutex_);
      wait_ = wait;
      cancelled = cancelled_;
    }
    if (cancelled) coordinator_.CancelWait(wait);
    Release();
  }

  void OnCancel() override {
    limiter_.Refused(peer_);
    uint64_t wait = 0;
    {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
      wait = wait_;
    }
    if (wait != 0) coordinator_.CancelWait(wait);
  }

  void OnDone() override { Release(); }

 private:
  void Answer(absl::StatusOr<Lease> lease) {
    if (lease.ok()) {
      lease->id = ids_.Hide(lease->id);
      v1::Lease response;
      ToProto(*lease, response);
      *response_ = EncodeMessage(response);
    } else if (!absl::IsCancelled(lease.status())) {
      limiter_.Refused(peer_);
    }
    Finish(ToGrpc(lease.status()));
  }

  // Start() and the RPC each hold one reference: the RPC may be answered and done before Start()
  // returns.
  void Release() {
    bool last = false;
    {
      absl::MutexLock lock(&mutex_);
      last = --references_ == 0;
    }
    if (last) delete this;
  }

  Coordinator& coordinator_;
  CallLimiter& limiter_;
  const CallPeer peer_;
  CallLimiter::Place place_;  // until the call is deleted
  const LeaseIds& ids_;
  grpc::ByteBuffer* const response_;

  absl::Mutex mutex_;
  uint64_t wait_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  int references_ ABSL_GUARDED_BY(mutex_) = 2;
};

}  // namespace

grpc::ServerUnaryReactor* StartAcquireLease(Coordinator& coordinator, CallLimiter& limiter,
                                            const CallPeer& peer,
                                            const v1::AcquireLeaseRequest& request,
                                            const std::string& worker, const LeaseIds& ids,
                                            grpc::ByteBuffer* response) {
  auto* call = new AcquireLeaseCall(coordinator, limiter, peer, ids, response);
  call->Start(request, worker);
  return call;
}

}  // namespace percentdelta
