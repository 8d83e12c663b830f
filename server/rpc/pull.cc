#include "server/rpc/pull.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/grpc_status.h"

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
      if (request.has_memory()) call->Map(request.memory());
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
      const int tensor = snapshot.range.tensor;
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
  // Entries of a snapshot.
  struct Range {
    Snapshot snapshot;
    int64_t begin = 0;
    int64_t count = 0;
  };

  struct Progress {
    Snapshot snapshot;
    int64_t sent = 0;  // entries
    AsyncSpan span;
  };

  // Memory that cannot be mapped is left alone: most often its owner is on another machine.
  void Map(const v1::SharedMemory& name) {
    absl::StatusOr<std::shared_ptr<SharedMemory>> mapped =
        state_->memory().Find(FromProto(name), state_->job().model.size());
    if (mapped.ok()) memory_ = *std::move(mapped);
  }

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
        TakeChunk();
      } else {
        return;
      }
    }
    if (finish) {
      Finish(ToGrpc(*finish));
    } else {
      Encode(chunk_);
      StartWrite(&message_);
    }
  }

  // The next chunk of the first tensor that is ready; after the last one of the last slice the
  // call ends well.
  void TakeChunk() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto next = ready_.begin();
    auto& [snapshot, sent, span] = next->second;
    const int64_t most = memory_ != nullptr ? kMaxChunkEntries : kChunkEntries;
    const int64_t count = std::min(most, snapshot.range.size() - sent);
    chunk_ = {snapshot, sent, count};
    sent += count;
    if (sent < snapshot.range.size()) return;
    span.End();
    ready_.erase(next);
    if (--remaining_ == 0) end_ = absl::OkStatus();
  }

  // Makes the message: the values themselves, or a word that they are in the caller's memory now.
  void Encode(const Range& chunk) {
    const ModelSpec& model = state_->job().model;
    const TensorRange& slice = chunk.snapshot.range;
    const std::string& name = model.tensors[slice.tensor].name;
    const int64_t begin = slice.begin + chunk.begin;
    const absl::Span<const float> values =
        absl::MakeConstSpan(*chunk.snapshot.values).subspan(chunk.begin, chunk.count);
    if (memory_ != nullptr) {
      absl::c_copy(values, memory_->values().begin() + model.SizeBefore(slice.tensor) + begin);
      message_ = EncodeSharedChunk(name, begin, chunk.count);
    } else {
      message_ = EncodeChunk(name, begin, values, chunk.snapshot.values);
    }
  }

  std::shared_ptr<PullCall> self_;  // until OnDone
  std::shared_ptr<ShardState> state_;
  std::shared_ptr<SharedMemory> memory_;  // the caller's; null: values go by the stream
  grpc::ByteBuffer message_;              // of the write in flight
  Range chunk_;                           // that it holds; of whoever set `busy_`

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
