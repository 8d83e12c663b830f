// SPDX-License-Identifier: Apache-2.0

#include "client/pull.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/float_bytes.h"
#include "common/base/status_macros.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

constexpr char kMethod[] = "/percentdelta.v1.ParameterServer/Pull";

}  // namespace

struct WeightPull::State {
  State(const ShardChannels& shard_channels, std::vector<std::vector<float>>& all_weights,
        Tracer its_tracer)
      : channels(shard_channels),
        weights(all_weights),
        tracer(std::move(its_tracer)),
        memory(shard_channels.memory().Take()) {}

  const ShardChannels& channels;
  std::vector<std::vector<float>>& weights;
  const Tracer tracer;
  const std::shared_ptr<SharedMemory> memory;  // offered to the shards; may be null

  absl::Mutex mutex;
  std::vector<int64_t> missing ABSL_GUARDED_BY(mutex);  // entries, by tensor
  int running ABSL_GUARDED_BY(mutex) = 0;               // streams
  absl::Status status ABSL_GUARDED_BY(mutex);           // the first error
  std::vector<Stream*> streams ABSL_GUARDED_BY(mutex);  // by shard; null once done
};

// One shard's stream. Owns itself until the call is done. gRPC runs its reactions one at a time.
class WeightPull::Stream : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(std::shared_ptr<State> state, int shard, int64_t step, absl::Duration deadline)
      : state_(std::move(state)),
        shard_(shard),
        step_(step),
        offered_(state_->memory != nullptr &&
                 state_->channels.memory().answer(shard) != OfferedMemory::Answer::kRefuses),
        received_(state_->channels.partition().ranges_of_shard(shard).size()) {
    v1::PullRequest request;
    request.set_generation(state_->channels.generation());
    request.set_step(step);
    if (offered_) *request.mutable_memory() = ToProto(state_->memory->name());
    request_ = EncodeMessage(request);
    SetDeadline(context_, deadline);
  }

  void Start() {
    state_->channels.stub(shard_).PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    StartWriteLast(&request_, {});
    StartRead(&response_);
    StartCall();
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (absl::Status status = AcceptChunk(); !status.ok()) {
      error_ = std::move(status);
      context_.TryCancel();
      return;
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& grpc_status) override {
    absl::Status status = error_.ok() ? FromGrpc(grpc_status) : error_;
    if (status.ok()) status = CheckComplete();
    if (!status.ok()) {
      status = absl::Status(status.code(),
                            absl::StrCat("pull from shard ", shard_, " at ",
                                         state_->channels.address(shard_), ": ", status.message()));
    }
    {
      absl::MutexLock lock(&state_->mutex);
      state_->status.Update(status);
      state_->streams[shard_] = nullptr;
      --state_->running;
      if (state_->running == 0 && state_->status.ok()) {
        state_->channels.memory().Return(state_->memory);
      }
    }
    delete this;
  }

 private:
  // Returns values that the shard has written to the memory offered to it.
  absl::Span<const float> Shared(int tensor, int64_t begin, int64_t count) const {
    return state_->memory->values().subspan(state_->channels.model().SizeBefore(tensor) + begin,
                                            count);
  }

  // Copies the values of the response to the weights.
  absl::Status AcceptChunk() {
    if (!DecodeChunk(response_, chunk_)) {
      return absl::DataLossError(absl::StrCat("expected a PullResponse, got ", response_.Length(),
                                              " bytes that are not one"));
    }
    const auto& ranges = state_->channels.partition().ranges_of_shard(shard_);
    const int tensor = state_->channels.model().Find(chunk_.tensor);
    const auto range = std::find_if(ranges.begin(), ranges.end(),
                                    [&](const TensorRange& each) { return each.tensor == tensor; });
    if (range == ranges.end()) {
      return absl::DataLossError(absl::StrCat("expected tensors of the shard, got \"",
                                              chunk_.tensor.substr(0, 100), "\""));
    }
    int64_t& received = received_[range - ranges.begin()];
    ASSIGN_OR_RETURN(const int64_t count, CountValues(*range, received));
    if (received == 0) {
      span_ = AsyncSpan(state_->tracer, "pull",
                        {.step = step_, .tensor = chunk_.tensor, .shard = shard_});
    }
    const absl::Span<float> values =
        absl::MakeSpan(state_->weights[tensor]).subspan(chunk_.begin, count);
    const bool shared = chunk_.shared_values != 0;
    if (shared) {
      absl::c_copy(Shared(tensor, chunk_.begin, count), values.begin());
    } else {
      CopyFromBytes(chunk_.pieces, values);
    }
    if (offered_ && received == 0) {
      OfferedMemory& memory = state_->channels.memory();
      shared ? memory.NoteAccepted(shard_) : memory.NoteRefused(shard_);
    }
    received += count;
    if (received == range->size()) span_.End();
    absl::MutexLock lock(&state_->mutex);
    state_->missing[tensor] -= count;
    return absl::OkStatus();
  }

  // Returns the number of values in the chunk, which must continue the `received` ones of `range`.
  absl::StatusOr<int64_t> CountValues(const TensorRange& range, int64_t received) const {
    const bool shared = chunk_.shared_values != 0;
    const int64_t count =
        shared ? chunk_.shared_values : chunk_.bytes / static_cast<int64_t>(sizeof(float));
    if (chunk_.begin != range.begin + received || chunk_.bytes % sizeof(float) != 0 || count <= 0 ||
        count > range.size() - received) {
      return absl::DataLossError(absl::StrCat(
          "tensor ", chunk_.tensor, ": expected values from entry ", range.begin + received,
          " up to ", range.end, ", got ", shared ? count : chunk_.bytes,
          shared ? " shared values" : " bytes", " from ", chunk_.begin));
    }
    if (shared && !offered_) {
      return absl::DataLossError(absl::StrCat("tensor ", chunk_.tensor,
                                              ": expected its values, got a reference to shared"
                                              " memory that was not offered"));
    }
    return count;
  }

  absl::Status CheckComplete() const {
    const auto& ranges = state_->channels.partition().ranges_of_shard(shard_);
    for (size_t i = 0; i < ranges.size(); ++i) {
      if (received_[i] == ranges[i].size()) continue;
      return absl::DataLossError(
          absl::StrCat("tensor ", state_->channels.model().tensors[ranges[i].tensor].name,
                       ": expected ", ranges[i].size(), " values, got ", received_[i]));
    }
    return absl::OkStatus();
  }

  const std::shared_ptr<State> state_;
  const int shard_;
  const int64_t step_;
  const bool offered_;             // whether the memory is offered to this shard
  AsyncSpan span_;                 // of the slice being received
  std::vector<int64_t> received_;  // entries, by slice of the shard
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;  // of the read in flight
  Chunk chunk_;                // of the response; a member to reuse its capacity
  absl::Status error_;         // of what the shard sent
};

WeightPull::WeightPull(const ShardChannels& channels, int64_t step, absl::Duration deadline,
                       std::vector<std::vector<float>>& weights, Tracer tracer)
    : state_(std::make_shared<State>(channels, weights, std::move(tracer))) {
  weights.resize(channels.model().tensors.size());
  std::vector<Stream*> streams;
  {
    absl::MutexLock lock(&state_->mutex);
    for (size_t tensor = 0; tensor < weights.size(); ++tensor) {
      const int64_t size = channels.model().tensors[tensor].size();
      weights[tensor].resize(size);
      state_->missing.push_back(size);
    }
    for (int shard = 0; shard < channels.shards(); ++shard) {
      streams.push_back(new Stream(state_, shard, step, deadline));
    }
    state_->streams = streams;
    state_->running = channels.shards();
  }
  for (Stream* stream : streams) stream->Start();
}

WeightPull::~WeightPull() {
  Cancel();
  AwaitAll().IgnoreError();
}

absl::Status WeightPull::AwaitTensor(int tensor) {
  const auto settled = [&]() ABSL_SHARED_LOCKS_REQUIRED(state_->mutex) {
    return state_->missing[tensor] == 0 || !state_->status.ok();
  };
  absl::MutexLock lock(&state_->mutex);
  state_->mutex.Await(absl::Condition(&settled));
  return state_->missing[tensor] == 0 ? absl::OkStatus() : state_->status;
}

absl::Status WeightPull::AwaitAll() {
  const auto over = [&]()
                        ABSL_SHARED_LOCKS_REQUIRED(state_->mutex) { return state_->running == 0; };
  absl::MutexLock lock(&state_->mutex);
  state_->mutex.Await(absl::Condition(&over));
  return state_->status;
}

bool WeightPull::failed() const {
  absl::MutexLock lock(&state_->mutex);
  return !state_->status.ok();
}

void WeightPull::Cancel() {
  absl::MutexLock lock(&state_->mutex);
  for (Stream* stream : state_->streams) {
    if (stream != nullptr) stream->Cancel();
  }
}

}  // namespace percentdelta
