// SPDX-License-Identifier: Apache-2.0

#include "client/push.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

constexpr char kMethod[] = "/percentdelta.v1.ParameterServer/Push";

}  // namespace

struct GradientPush::State {
  State(const ShardChannels& shard_channels,
        std::shared_ptr<const std::vector<std::vector<float>>> values, Tracer its_tracer)
      : channels(shard_channels),
        gradient(std::move(values)),
        tracer(std::move(its_tracer)),
        memory(shard_channels.memory().Take()) {}

  const ShardChannels& channels;
  const std::shared_ptr<const std::vector<std::vector<float>>> gradient;
  const Tracer tracer;
  const std::shared_ptr<SharedMemory> memory;  // for shards that accept it; may be null

  absl::Mutex mutex;
  int running ABSL_GUARDED_BY(mutex) = 0;               // streams
  absl::Status status ABSL_GUARDED_BY(mutex);           // the first error
  std::vector<Stream*> streams ABSL_GUARDED_BY(mutex);  // by shard; null once done
};

// One shard's stream. Owns itself until the call is done. One write is in flight at a time: the
// thread that sets `busy_` starts it after releasing the lock. A hold keeps the call from being
// done while another write may still start.
class GradientPush::Stream : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(std::shared_ptr<State> state, int shard, const GradientSlot& slot, absl::Duration deadline)
      : state_(std::move(state)),
        subject_{.step = slot.step, .slot = slot.slot, .shard = shard},
        shares_(state_->memory != nullptr &&
                state_->channels.memory().answer(shard) == OfferedMemory::Answer::kAccepts) {
    v1::PushRequest first;
    v1::PushHeader& header = *first.mutable_header();
    header.set_generation(state_->channels.generation());
    header.set_step(slot.step);
    header.set_slot(slot.slot);
    header.set_checkpoint(slot.checkpoint);
    if (shares_) *header.mutable_memory() = ToProto(state_->memory->name());
    request_ = EncodeMessage(first);
    SetDeadline(context_, deadline);
    unready_ = state_->channels.partition().ranges_of_shard(shard).size();
  }

  void Start() {
    state_->channels.stub(subject_.shard).PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    AddHold();
    StartRead(&response_);  // the status alone tells the outcome
    StartCall();
    Pump();  // sends the header, so that a shard can refuse before the gradient is computed
  }

  void Ready(int tensor) {
    {
      absl::MutexLock lock(&mutex_);
      for (const TensorRange& range :
           state_->channels.partition().ranges_of_shard(subject_.shard)) {
        if (range.tensor != tensor) continue;
        TraceSubject subject = subject_;
        subject.tensor = state_->channels.model().tensors[tensor].name;
        pending_.push_back({range, 0, AsyncSpan(state_->tracer, "push", subject)});
        --unready_;
      }
    }
    Pump();
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      busy_ = false;
      if (!ok) broken_ = true;
    }
    Pump();
  }

  void OnDone(const grpc::Status& grpc_status) override {
    absl::Status status = FromGrpc(grpc_status);
    if (!status.ok()) {
      // The shard may have failed to map the memory, and would again.
      if (shares_ && absl::IsFailedPrecondition(status)) {
        state_->channels.memory().NoteRefused(subject_.shard);
      }
      status = absl::Status(status.code(), absl::StrCat("push to shard ", subject_.shard, " at ",
                                                        state_->channels.address(subject_.shard),
                                                        ": ", status.message()));
    }
    {
      absl::MutexLock lock(&state_->mutex);
      state_->status.Update(status);
      state_->streams[subject_.shard] = nullptr;
      --state_->running;
      if (state_->running == 0 && state_->status.ok()) {
        state_->channels.memory().Return(state_->memory);
      }
    }
    delete this;
  }

  // Cancels the call, and removes the hold: no more tensors will be ready.
  void Abandon() {
    {
      absl::MutexLock lock(&mutex_);
      broken_ = true;
    }
    context_.TryCancel();
    Pump();
  }

 private:
  struct Part {
    TensorRange range;
    int64_t sent = 0;  // entries
    AsyncSpan span;
  };

  // The entries of a tensor that one write sends.
  struct Entries {
    int tensor = 0;
    int64_t begin = 0;
    int64_t count = 0;
  };

  // What Pump does next.
  enum class Action { kNone, kWrite, kFinish, kRemoveHold };

  Action NextAction() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (busy_ || hold_removed_) return Action::kNone;
    if (broken_) {
      hold_removed_ = true;
      return Action::kRemoveHold;
    }
    if (!header_sent_) {
      header_sent_ = true;
      busy_ = true;
      return Action::kWrite;
    }
    if (!pending_.empty()) {
      busy_ = true;
      TakeChunk();
      return Action::kWrite;
    }
    if (unready_ > 0) return Action::kNone;
    hold_removed_ = true;
    return Action::kFinish;
  }

  // Starts the next write, or ends the writes; does nothing while a write is in flight.
  void Pump() {
    Action action = Action::kNone;
    {
      absl::MutexLock lock(&mutex_);
      action = NextAction();
    }
    switch (action) {
      case Action::kNone:
        break;
      case Action::kWrite:
        if (chunk_.count > 0) Encode(chunk_);
        StartWrite(&request_);
        break;
      case Action::kFinish:
        StartWritesDone();
        RemoveHold();
        break;
      case Action::kRemoveHold:
        RemoveHold();
        break;
    }
  }

  void TakeChunk() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Part& part = pending_.front();
    const int64_t max_count = shares_ ? kMaxChunkEntries : kChunkEntries;
    const int64_t count = std::min(max_count, part.range.size() - part.sent);
    chunk_ = {part.range.tensor, part.range.begin + part.sent, count};
    part.sent += count;
    if (part.sent < part.range.size()) return;
    part.span.End();
    pending_.pop_front();
  }

  // Makes the request, which holds the values or refers to those it copies to the shared memory.
  void Encode(const Entries& chunk) {
    const ModelSpec& model = state_->channels.model();
    const std::string& name = model.tensors[chunk.tensor].name;
    const absl::Span<const float> values =
        absl::MakeConstSpan((*state_->gradient)[chunk.tensor]).subspan(chunk.begin, chunk.count);
    if (shares_) {
      absl::c_copy(values,
                   state_->memory->values().begin() + model.SizeBefore(chunk.tensor) + chunk.begin);
      request_ = EncodeSharedChunk(name, chunk.begin, chunk.count);
    } else {
      request_ = EncodeChunk(name, chunk.begin, values, state_->gradient);
    }
  }

  const std::shared_ptr<State> state_;
  const TraceSubject subject_;  // of all parts; without the tensor
  const bool shares_;           // whether the values go through shared memory
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;  // of the write in flight
  Entries chunk_;             // in it; belongs to the thread that set `busy_`
  grpc::ByteBuffer response_;

  absl::Mutex mutex_;
  std::deque<Part> pending_ ABSL_GUARDED_BY(mutex_);
  size_t unready_ ABSL_GUARDED_BY(mutex_);  // slices whose values are not final yet
  bool header_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool hold_removed_ ABSL_GUARDED_BY(mutex_) = false;  // or about to be
};

GradientPush::GradientPush(const ShardChannels& channels, const GradientSlot& slot,
                           absl::Duration deadline,
                           std::shared_ptr<const std::vector<std::vector<float>>> gradient,
                           Tracer tracer)
    : state_(std::make_shared<State>(channels, std::move(gradient), std::move(tracer))) {
  std::vector<Stream*> streams;
  streams.reserve(channels.shards());
  for (int shard = 0; shard < channels.shards(); ++shard) {
    streams.push_back(new Stream(state_, shard, slot, deadline));
  }
  {
    absl::MutexLock lock(&state_->mutex);
    state_->streams = streams;
    state_->running = channels.shards();
  }
  for (Stream* stream : streams) stream->Start();
}

GradientPush::~GradientPush() {
  Cancel();
  Finish().IgnoreError();
}

void GradientPush::Cancel() {
  absl::MutexLock lock(&state_->mutex);
  for (Stream* stream : state_->streams) {
    if (stream != nullptr) stream->Abandon();
  }
}

void GradientPush::Ready(int tensor) {
  absl::MutexLock lock(&state_->mutex);
  for (Stream* stream : state_->streams) {
    if (stream != nullptr) stream->Ready(tensor);
  }
}

absl::Status GradientPush::Finish() {
  const auto over = [&]()
                        ABSL_SHARED_LOCKS_REQUIRED(state_->mutex) { return state_->running == 0; };
  absl::MutexLock lock(&state_->mutex);
  state_->mutex.Await(absl::Condition(&over));
  return state_->status;
}

}  // namespace percentdelta
