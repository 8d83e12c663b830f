// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/watch_update_statistics.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/cluster/statistics_proto.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/request.h"

namespace percentdelta {
namespace {

// At most one write is in flight. The thread that sets `busy_` or `finished_` starts the write, or
// finishes the call, after it has released the lock.
class WatchCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public StatisticsListener {
 public:
  WatchCall(StatisticsRing& ring, CallLimiter& limiter, CallPeer peer, std::string layer)
      : ring_(ring), limiter_(limiter), peer_(std::move(peer)), layer_(std::move(layer)) {}

  static WatchCall* Start(StatisticsRing& ring, CallLimiter& limiter, const CallPeer& peer,
                          const grpc::ByteBuffer& bytes) {
    v1::WatchUpdateStatisticsRequest request;
    const absl::Status decoded = DecodeRequest(limiter.limits(), Sender::kAny, bytes, request);
    if (!decoded.ok()) limiter.Refused(peer, RefusalWeight(bytes));
    auto call = std::make_shared<WatchCall>(ring, limiter, peer, request.layer());
    call->self_ = call;
    absl::StatusOr<CallLimiter::Place> place = limiter.Admit(CallKind::kWatch, peer);
    absl::Status status = place.status();
    if (place.ok()) {
      call->place_ = *std::move(place);
      call->place_.Moved(/*busy=*/false);
      status = decoded.ok() ? ring.CheckLayer(request.layer()) : decoded;
    }
    if (status.ok() && request.last() < 0) {
      status = absl::InvalidArgumentError(
          absl::StrCat("last: expected a number of at least 0, got ", request.last()));
    }
    {
      absl::MutexLock lock(&call->mutex_);
      call->next_ = std::max<int64_t>(0, ring.newest() + 1 - request.last());
      if (!status.ok()) call->end_ = status;
    }
    ring.Listen(call);
    call->Pump();
    return call.get();
  }

  void Changed() override { Pump(); }

  void OnWriteDone(bool ok) override {
    place_.Moved(/*busy=*/false);
    {
      absl::MutexLock lock(&mutex_);
      busy_ = false;
      if (!ok) end_ = absl::CancelledError("connection lost");
    }
    Pump();
  }

  void OnCancel() override {
    limiter_.Refused(peer_);
    {
      absl::MutexLock lock(&mutex_);
      end_ = absl::CancelledError("the caller cancelled the call");
    }
    Pump();
  }

  void OnDone() override {
    place_.Release();
    self_.reset();
  }

 private:
  void Pump() {
    std::optional<absl::Status> finish;
    {
      absl::MutexLock lock(&mutex_);
      if (busy_ || finished_) return;
      // Read before the ring: nothing is added to it after its end.
      const std::optional<absl::Status> ended = ring_.ended();
      if (!end_ && FillMessage()) {
        busy_ = true;
      } else if (end_ || ended) {
        finished_ = true;
        finish = end_ ? *end_ : *ended;
      } else {
        return;
      }
    }
    if (finish) {
      Finish(ToGrpc(*finish));
    } else {
      place_.Moved(/*busy=*/true);
      StartWrite(&message_);
    }
  }

  // Fills in the next complete step of the ring. Returns false if there is none yet.
  bool FillMessage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int64_t newest = ring_.newest();
    if (newest + 1 < next_) next_ = 0;  // a new generation has restarted
    const int64_t first = std::max(next_, ring_.oldest());
    if (newest < first) return false;
    const std::vector<StepStatistics> steps = ring_.Range(first, first, layer_);
    if (steps.empty()) return false;
    v1::StepStatistics message;
    ToProto(steps.front(), message);
    message.set_skipped_steps(first - next_);
    message_ = EncodeMessage(message);
    next_ = first + 1;
    return true;
  }

  StatisticsRing& ring_;
  CallLimiter& limiter_;
  const CallPeer peer_;
  CallLimiter::Place place_;
  const std::string layer_;
  std::shared_ptr<WatchCall> self_;  // until OnDone
  grpc::ByteBuffer message_;         // of the write in flight

  absl::Mutex mutex_;
  int64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatchUpdateStatistics(
    StatisticsRing& ring, CallLimiter& limiter, const CallPeer& peer,
    const grpc::ByteBuffer& request) {
  return WatchCall::Start(ring, limiter, peer, request);
}

}  // namespace percentdelta
