// SPDX-License-Identifier: Apache-2.0

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

// At most one write is in flight. The thread that sets `busy_` or `finished_` starts the write, or
// finishes the call, after it has released the lock.
class PullCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public PullSink {
 public:
  PullCall(CallLimiter& limiter, std::string peer) : limiter_(limiter), peer_(std::move(peer)) {}

  static PullCall* Start(const Shard& shard, CallLimiter& limiter, const std::string& peer,
                         const grpc::ByteBuffer& bytes) {
    auto call = std::make_shared<PullCall>(limiter, peer);
    call->self_ = call;
    absl::StatusOr<CallLimiter::Place> place = limiter.Admit(CallKind::kPull, peer);
    if (!place.ok()) {
      call->End(place.status());
      return call.get();
    }
    call->place_ = *std::move(place);
    call->place_.Moved(/*busy=*/false);
    v1::PullRequest request;
    if (!DecodeMessage(bytes, request)) {
      call->End(absl::InvalidArgumentError(absl::StrCat(
          "pull: expected a PullRequest, got ", bytes.Length(), " bytes that are not one")));
      return call.get();
    }
    absl::StatusOr<std::shared_ptr<ShardState>> state = shard.At(request.generation());
    if (state.ok()) {
      call->state_ = *state;
      if (request.has_memory()) call->Map(request.memory());
      call->SetRemaining((*state)->slices().size());
      absl::Status status = (*state)->Pull(request.step(), call);
      // A shard without slices delivers nothing: end the call here.
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
      ready_.emplace(tensor, ReadySlice{std::move(snapshot), 0,
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
    place_.Moved(/*busy=*/false);
    {
      absl::MutexLock lock(&mutex_);
      busy_ = false;
      if (!ok && !end_) end_ = absl::CancelledError("connection lost");
    }
    Pump();
  }

  void OnCancel() override {
    limiter_.Refused(peer_);
    End(absl::CancelledError("the caller cancelled the call"));
  }

  void OnDone() override {
    place_.Release();
    self_.reset();
  }

 private:
  // Consecutive entries of a snapshot.
  struct SnapshotRange {
    Snapshot snapshot;
    int64_t begin = 0;
    int64_t count = 0;
  };

  // A snapshot that is being sent.
  struct ReadySlice {
    Snapshot snapshot;
    int64_t sent = 0;  // entries
    AsyncSpan span;
  };

  // Ignores memory that cannot be mapped: usually its owner runs on another machine.
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
      place_.Moved(/*busy=*/true);
      StartWrite(&message_);
    }
  }

  // Takes the next chunk of the first tensor that is ready. After the last chunk of the last slice,
  // sets the end of the call to kOk.
  void TakeChunk() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto next = ready_.begin();
    auto& [snapshot, sent, span] = next->second;
    const int64_t max_count = memory_ != nullptr ? kMaxChunkEntries : kChunkEntries;
    const int64_t count = std::min(max_count, snapshot.range.size() - sent);
    chunk_ = {snapshot, sent, count};
    sent += count;
    if (sent < snapshot.range.size()) return;
    span.End();
    ready_.erase(next);
    if (--remaining_ == 0) end_ = absl::OkStatus();
  }

  // Makes the message of the chunk: with its values, or, once these are written to the caller's
  // memory, with their number.
  void Encode(const SnapshotRange& chunk) {
    const ModelSpec& model = state_->job().model;
    const TensorRange& range = chunk.snapshot.range;
    const std::string& name = model.tensors[range.tensor].name;
    const int64_t begin = range.begin + chunk.begin;
    const absl::Span<const float> values =
        absl::MakeConstSpan(*chunk.snapshot.values).subspan(chunk.begin, chunk.count);
    ShardCounters::Bytes& pulled = state_->counters().pulled;
    Add(memory_ != nullptr ? pulled.shared_memory : pulled.grpc,
        chunk.count * static_cast<int64_t>(sizeof(float)));
    if (memory_ != nullptr) {
      absl::c_copy(values, memory_->values().begin() + model.SizeBefore(range.tensor) + begin);
      message_ = EncodeSharedChunk(name, begin, chunk.count);
    } else {
      message_ = EncodeChunk(name, begin, values, chunk.snapshot.values);
    }
  }

  CallLimiter& limiter_;
  const std::string peer_;
  CallLimiter::Place place_;
  std::shared_ptr<PullCall> self_;  // until OnDone
  std::shared_ptr<ShardState> state_;
  std::shared_ptr<SharedMemory> memory_;  // the caller's; null: values go through the stream
  grpc::ByteBuffer message_;              // of the write in flight
  SnapshotRange chunk_;  // contents of `message_`; used by the thread that set `busy_`

  absl::Mutex mutex_;
  std::map<int, ReadySlice> ready_ ABSL_GUARDED_BY(mutex_);  // by tensor
  size_t remaining_ ABSL_GUARDED_BY(mutex_) = 0;             // slices not completely sent
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartPull(const Shard& shard, CallLimiter& limiter,
                                                      const std::string& peer,
                                                      const grpc::ByteBuffer& request) {
  return PullCall::Start(shard, limiter, peer, request);
}

}  // namespace percentdelta
