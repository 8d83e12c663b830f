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
  const std::shared_ptr<SharedMemory> memory;  // for shards that take it; null: none

  absl::Mutex mutex;
  int running ABSL_GUARDED_BY(mutex) = 0;               // streams
  absl::Status status ABSL_GUARDED_BY(mutex);           // the first error
  std::vector<Stream*> streams ABSL_GUARDED_BY(mutex);  // by shard; null when done
};

// One shard's stream. Owns itself until the call is done. One write is in flight at a time; whoever
// sets `busy_` starts it after letting go of the lock. A hold keeps the call from being done while
// somebody may still want to write.
class GradientPush::Stream : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(std::shared_ptr<State> state, int shard, const GradientSlot& slot, absl::Duration deadline)
      : state_(std::move(state)),
        subject_{.step = slot.step, .slot = slot.slot, .shard = shard},
        shares_(state_->memory != nullptr &&
                state_->channels.memory().answer(shard) == OfferedMemory::Answer::kTakes) {
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
    StartRead(&response_);  // whose end says nothing that the status does not
    StartCall();
    Pump();  // the header, which tells a refusal before the work is done
  }

  void Ready(int tensor) {
    {
      absl::MutexLock lock(&mutex_);
      for (const TensorRange& slice :
           state_->channels.partition().ranges_of_shard(subject_.shard)) {
        if (slice.tensor != tensor) continue;
        TraceSubject subject = subject_;
        subject.tensor = state_->channels.model().tensors[tensor].name;
        pending_.push_back({slice, 0, AsyncSpan(state_->tracer, "push", subject)});
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
      // Perhaps for want of the memory: then it would be again.
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

  // No more will be ready: the stream may be done.
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
    TensorRange slice;
    int64_t sent = 0;  // entries
    AsyncSpan span;
  };

  // Entries of a tensor.
  struct Range {
    int tensor = 0;
    int64_t begin = 0;
    int64_t count = 0;
  };

  enum class Act { kNothing, kWrite, kEnd, kLetGo };

  Act Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (busy_ || over_) return Act::kNothing;
    if (broken_) {
      over_ = true;
      return Act::kLetGo;
    }
    if (!header_sent_) {
      header_sent_ = true;
      busy_ = true;
      return Act::kWrite;
    }
    if (!pending_.empty()) {
      busy_ = true;
      TakeChunk();
      return Act::kWrite;
    }
    if (unready_ > 0) return Act::kNothing;
    over_ = true;
    return Act::kEnd;
  }

  void Pump() {
    Act act = Act::kNothing;
    {
      absl::MutexLock lock(&mutex_);
      act = Next();
    }
    switch (act) {
      case Act::kNothing:
        break;
      case Act::kWrite:
        if (chunk_.count > 0) Encode(chunk_);
        StartWrite(&request_);
        break;
      case Act::kEnd:
        StartWritesDone();
        RemoveHold();
        break;
      case Act::kLetGo:
        RemoveHold();
        break;
    }
  }

  void TakeChunk() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Part& part = pending_.front();
    const int64_t most = shares_ ? kMaxChunkEntries : kChunkEntries;
    const int64_t count = std::min(most, part.slice.size() - part.sent);
    chunk_ = {part.slice.tensor, part.slice.begin + part.sent, count};
    part.sent += count;
    if (part.sent < part.slice.size()) return;
    part.span.End();
    pending_.pop_front();
  }

  // Makes the request: the values themselves, or a word that they are in the memory.
  void Encode(const Range& chunk) {
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
  const TraceSubject subject_;  // of all parts, but for the tensor
  const bool shares_;           // the values go by the memory
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;  // of the write in flight
  Range chunk_;               // that it holds; of whoever set `busy_`
  grpc::ByteBuffer response_;

  absl::Mutex mutex_;
  std::deque<Part> pending_ ABSL_GUARDED_BY(mutex_);
  size_t unready_ ABSL_GUARDED_BY(mutex_);  // slices that are not made yet
  bool header_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;  // the hold is gone
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
