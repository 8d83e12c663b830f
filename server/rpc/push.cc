// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/push.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/float_bytes.h"
#include "common/base/status_macros.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/grpc_status.h"
#include "server/shard/gradient_assembly.h"

namespace percentdelta {
namespace {

// Reads of the stream do not overlap. The thread that sets `finished_` finishes the call: that of a
// reaction, or the limiter's.
class PushCall : public grpc::ServerReadReactor<grpc::ByteBuffer> {
 public:
  PushCall(const Shard& shard, CallLimiter& limiter, std::string peer, grpc::ByteBuffer* response)
      : shard_(shard), limiter_(limiter), peer_(std::move(peer)), response_(response) {}

  static PushCall* Start(const Shard& shard, CallLimiter& limiter, const std::string& peer,
                         grpc::ByteBuffer* response) {
    auto call = std::make_shared<PushCall>(shard, limiter, peer, response);
    call->self_ = call;
    const std::weak_ptr<PushCall> weak = call;
    CallLimiter::Callbacks callbacks;
    callbacks.end = [weak](const absl::Status& status) {
      if (const auto ended = weak.lock()) ended->TryFinish(status);
    };
    callbacks.resume = [weak] {
      if (const auto resumed = weak.lock()) resumed->Read();
    };
    absl::StatusOr<CallLimiter::Place> place =
        limiter.Admit(CallKind::kPush, peer, std::move(callbacks));
    if (place.ok()) {
      call->place_ = *std::move(place);
      call->Read();
    } else {
      call->TryFinish(place.status());
    }
    return call.get();
  }

  void OnReadDone(bool ok) override {
    const absl::Status status = ok ? Take() : End();
    if (!ok || !status.ok()) {
      if (!status.ok()) limiter_.Refused(peer_);
      TryFinish(status);
      return;
    }
    place_.Moved(/*busy=*/true);
    // Otherwise the limiter resumes it.
    if (place_.Hold(assembly_ ? assembly_->buffered_bytes() : 0)) Read();
  }

  void OnDone() override {
    place_.Release();
    self_.reset();
  }

 private:
  void Read() {
    absl::MutexLock lock(&mutex_);
    if (!finished_) StartRead(&message_);
  }

  void TryFinish(const absl::Status& status) {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(finished_, true)) return;
    }
    CountEnd(status);
    Finish(ToGrpc(status));
  }

  // Called by the thread that has set `finished_`; with kOk, by the one that owns the assembly.
  void CountEnd(const absl::Status& status) const {
    ShardCounters& counters = *shard_.counters();
    if (!status.ok()) {
      Add(counters.refused[static_cast<size_t>(status.code()) % ShardCounters::kCodes], 1);
    } else {
      Add(assembly_->staged_slices() > 0 ? counters.accepted : counters.duplicate, 1);
    }
  }

  void CountBytes() const {
    ShardCounters::Bytes& pushed = shard_.counters()->pushed;
    if (chunk_.shared_values > 0) {
      Add(pushed.shared_memory, chunk_.shared_values * static_cast<int64_t>(sizeof(float)));
    } else {
      Add(pushed.grpc, static_cast<int64_t>(message_.Length()));
    }
  }

  absl::Status Take() {
    if (!DecodeChunk(message_, chunk_)) {
      return absl::InvalidArgumentError(absl::StrCat("push: expected a PushRequest, got ",
                                                     message_.Length(), " bytes that are not one"));
    }
    if (!assembly_) {
      RETURN_IF_ERROR(Begin());
      if (chunk_.tensor.empty() && chunk_.pieces.empty()) return absl::OkStatus();
    }
    if (chunk_.shared_values != 0) {
      RETURN_IF_ERROR(FindShared());
    }
    CountBytes();
    return assembly_->Add(chunk_.tensor, chunk_.begin, chunk_.pieces);
  }

  absl::Status Begin() {
    if (!chunk_.header) {
      return absl::InvalidArgumentError("push: expected a header in the first message, got none");
    }
    const v1::PushHeader& header = *chunk_.header;
    ASSIGN_OR_RETURN(std::shared_ptr<ShardState> state, shard_.At(header.generation()));
    RETURN_IF_ERROR(state->CheckSlot(header.step(), header.slot()));
    model_ = &state->job().model;
    if (header.has_memory()) {
      absl::StatusOr<std::shared_ptr<SharedMemory>> mapped =
          state->memory().Find(FromProto(header.memory()), model_->size());
      if (!mapped.ok()) {
        return absl::FailedPreconditionError(
            absl::StrCat("push: ", mapped.status().message(), "; send the values themselves"));
      }
      mapped_ = *std::move(mapped);
    }
    assembly_.emplace(std::move(state), header.step(), header.slot(), header.checkpoint());
    return absl::OkStatus();
  }

  // Makes the values that the chunk refers to in the caller's memory its only piece. The assembly
  // checks its copy of them, because the caller might change the memory.
  absl::Status FindShared() {
    const int tensor = model_->Find(chunk_.tensor);
    if (tensor < 0) return absl::OkStatus();  // Add() will report the unknown tensor
    const int64_t size = model_->tensors[tensor].size();
    const int64_t count = chunk_.shared_values;
    if (mapped_ == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", chunk_.tensor,
                       ": expected values in the stream, or a header with memory, got ", count,
                       " shared ones without it"));
    }
    if (chunk_.begin < 0 || chunk_.begin > size || count < 0 || count > size - chunk_.begin) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", chunk_.tensor, ": expected values within its ", size,
                       " entries, got ", count, " shared ones from entry ", chunk_.begin));
    }
    chunk_.pieces = {
        AsBytes(mapped_->values().subspan(model_->SizeBefore(tensor) + chunk_.begin, count))};
    return absl::OkStatus();
  }

  // Handles the end of the stream. If the connection was lost, the answer goes nowhere.
  absl::Status End() {
    if (!assembly_) {
      return absl::InvalidArgumentError("push: expected a header, got an empty stream");
    }
    RETURN_IF_ERROR(assembly_->Finish());
    v1::PushResponse response;
    response.set_staged_slices(assembly_->staged_slices());
    response.set_duplicate_slices(assembly_->duplicate_slices());
    *response_ = EncodeMessage(response);
    return absl::OkStatus();
  }

  const Shard& shard_;
  CallLimiter& limiter_;
  const std::string peer_;
  grpc::ByteBuffer* const response_;
  grpc::ByteBuffer message_;              // of the read in flight
  Chunk chunk_;                           // of the message; reused to save allocations
  const ModelSpec* model_ = nullptr;      // the assembly's
  std::shared_ptr<SharedMemory> mapped_;  // the caller's; null if it offers none
  std::optional<GradientAssembly> assembly_;
  CallLimiter::Place place_;
  std::shared_ptr<PushCall> self_;  // until OnDone

  absl::Mutex mutex_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* StartPush(const Shard& shard, CallLimiter& limiter,
                                                     const std::string& peer,
                                                     grpc::ByteBuffer* response) {
  return PushCall::Start(shard, limiter, peer, response);
}

}  // namespace percentdelta
