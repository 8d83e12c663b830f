#include "server/rpc/pull.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/chunk_codec.h"
#include "common/grpc_status.h"

namespace percentdelta {
namespace {

// One write is in flight at a time; whoever sets `busy_` starts it, or finishes the call, after
// letting go of the lock.
class PullCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public PullSink {
 public:
  static PullCall* Start(const Shard& shard, const grpc::ByteBuffer& bytes) {
    auto call = std::make_shared<PullCall>();
    call->self_ = call;
    v1::PullRequest request;
    if (!DecodeMessage(bytes, request)) {
      call->End(absl::InvalidArgumentError(
          absl::StrCat("pull: expected a PullRequest, got ", bytes.Length(), " bytes of another")));
      return call.get();
    }
    absl::StatusOr<std::shared_ptr<ShardState>> state = shard.At(request.generation());
    if (state.ok()) {
      call->state_ = *state;
      call->SetRemaining((*state)->slices().size());
      absl::Status status = (*state)->Pull(request.step(), call);
      // A shard that owns nothing has nothing to deliver: the call ends here.
      if (!status.ok() || (*state)->slices().empty()) call->End(std::move(status));
    } else {
      call->End(state.status());
    }
    return call.get();
  }

  void Deliver(Snapshot snapshot) override {
    {
      absl::MutexLock lock(&mutex_);
      const int tensor = snapshot.slice.tensor;
      const TraceSubject subject = {.step = snapshot.step,
                                    .tensor = state_->job().model.tensors[tensor].name};
      ready_.emplace(tensor, Progress{std::move(snapshot), 0,
                                      AsyncSpan(state_->tracer(), "send weights", subject)});
    }
    Pump();
  }

  void End(absl::Status reason) override {
    {
      absl::MutexLock lock(&mutex_);
      if (!end_) end_ = std::move(reason);
    }
    Pump();
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      busy_ = false;
      if (!ok && !end_) end_ = absl::CancelledError("the connection is gone");
    }
    Pump();
  }

  void OnCancel() override { End(absl::CancelledError("the caller has left")); }

  void OnDone() override { self_.reset(); }

 private:
  struct Progress {
    Snapshot snapshot;
    int64_t sent = 0;  // entries
    AsyncSpan span;
  };

  void SetRemaining(size_t slices) {
    absl::MutexLock lock(&mutex_);
    remaining_ = slices;
  }

  void Pump() {
    std::optional<absl::Status> finish;
    {
      absl::MutexLock lock(&mutex_);
      if (busy_ || finished_) return;
      if (end_) {
        finished_ = true;
        finish = end_;
      } else if (!ready_.empty()) {
        busy_ = true;
        FillMessage();
      } else {
        return;
      }
    }
    if (finish) {
      Finish(ToGrpc(*finish));
    } else {
      StartWrite(&message_);
    }
  }

  // The next chunk of the first tensor that is ready; after the last one of the last slice the
  // call ends well.
  void FillMessage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto next = ready_.begin();
    auto& [snapshot, sent, span] = next->second;
    const int64_t count = std::min(kChunkEntries, snapshot.slice.size() - sent);
    message_ = EncodeChunk(
        state_->job().model.tensors[snapshot.slice.tensor].name, snapshot.slice.begin + sent,
        absl::MakeConstSpan(*snapshot.values).subspan(sent, count), snapshot.values);
    sent += count;
    if (sent < snapshot.slice.size()) return;
    span.End();
    ready_.erase(next);
    if (--remaining_ == 0) end_ = absl::OkStatus();
  }

  std::shared_ptr<PullCall> self_;  // until OnDone
  std::shared_ptr<ShardState> state_;
  grpc::ByteBuffer message_;  // of the write in flight

  absl::Mutex mutex_;
  std::map<int, Progress> ready_ ABSL_GUARDED_BY(mutex_);  // by tensor
  size_t remaining_ ABSL_GUARDED_BY(mutex_) = 0;           // slices not wholly sent
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartPull(const Shard& shard,
                                                      const grpc::ByteBuffer& request) {
  return PullCall::Start(shard, request);
}

}  // namespace percentdelta
