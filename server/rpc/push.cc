#include "server/rpc/push.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/float_bytes.h"
#include "common/base/status_macros.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/grpc_status.h"
#include "server/shard/gradient_assembly.h"

namespace percentdelta {
namespace {

// Reactions come one after the other: there is one read in flight, and Finish is called from a
// read's end alone.
class PushCall : public grpc::ServerReadReactor<grpc::ByteBuffer> {
 public:
  PushCall(const Shard& shard, std::atomic<int>& pushes, grpc::ByteBuffer* response)
      : shard_(shard), pushes_(pushes), response_(response) {
    if (++pushes_ > kMaxPushes) {
      Finish(ToGrpc(absl::ResourceExhaustedError(
          absl::StrCat("pushes under way: expected at most ", kMaxPushes, ", got one more"))));
      return;
    }
    StartRead(&message_);
  }

  void OnReadDone(bool ok) override {
    const absl::Status status = ok ? Take() : End();
    if (ok && status.ok()) {
      StartRead(&message_);
    } else {
      Finish(ToGrpc(status));
    }
  }

  void OnDone() override {
    --pushes_;
    delete this;
  }

 private:
  absl::Status Take() {
    if (!DecodeChunk(message_, chunk_)) {
      return absl::InvalidArgumentError(absl::StrCat("push: expected a PushRequest, got ",
                                                     message_.Length(), " bytes of another"));
    }
    if (!assembly_) {
      RETURN_IF_ERROR(Begin());
      if (chunk_.tensor.empty() && chunk_.pieces.empty()) return absl::OkStatus();
    }
    if (chunk_.shared_values != 0) {
      RETURN_IF_ERROR(FindShared());
    }
    return assembly_->Add(chunk_.tensor, chunk_.begin, chunk_.pieces);
  }

  absl::Status Begin() {
    if (!chunk_.header) {
      return absl::InvalidArgumentError("push: expected a header in the first message, got none");
    }
    const v1::PushHeader& header = *chunk_.header;
    absl::StatusOr<std::shared_ptr<ShardState>> state = shard_.At(header.generation());
    if (!state.ok()) return state.status();
    absl::Status status = (*state)->CheckSlot(header.step(), header.slot());
    if (!status.ok()) return status;
    model_ = &(*state)->job().model;
    if (header.has_memory()) {
      absl::StatusOr<std::shared_ptr<SharedMemory>> mapped =
          (*state)->memory().Find(FromProto(header.memory()), model_->size());
      if (!mapped.ok()) {
        return absl::FailedPreconditionError(
            absl::StrCat("push: ", mapped.status().message(), "; send the values themselves"));
      }
      mapped_ = *std::move(mapped);
    }
    assembly_.emplace(*std::move(state), header.step(), header.slot(), header.checkpoint());
    return absl::OkStatus();
  }

  // Makes what the chunk names in the caller's memory its piece. What is read of it is copied
  // before it is checked: the caller might change it.
  absl::Status FindShared() {
    const int tensor = model_->Find(chunk_.tensor);
    if (tensor < 0) return absl::OkStatus();  // which will be told
    const int64_t size = model_->tensors[tensor].size();
    const int64_t count = chunk_.shared_values;
    if (mapped_ == nullptr || chunk_.begin < 0 || chunk_.begin > size || count < 0 ||
        count > size - chunk_.begin) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", chunk_.tensor, ": expected values within its ", size,
          mapped_ == nullptr ? " entries, in the stream for want of a header with memory, got "
                             : " entries, got ",
          count, " shared ones from entry ", chunk_.begin));
    }
    chunk_.pieces = {
        AsBytes(mapped_->values().subspan(model_->SizeBefore(tensor) + chunk_.begin, count))};
    return absl::OkStatus();
  }

  // The stream's end: the caller's, or that of the connection, whose answer nobody hears.
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
  std::atomic<int>& pushes_;
  grpc::ByteBuffer* const response_;
  grpc::ByteBuffer message_;              // of the read in flight
  Chunk chunk_;                           // the message's; kept for its memory
  const ModelSpec* model_ = nullptr;      // the assembly's
  std::shared_ptr<SharedMemory> mapped_;  // the caller's, if it offers some
  std::optional<GradientAssembly> assembly_;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* StartPush(const Shard& shard, std::atomic<int>& pushes,
                                                     grpc::ByteBuffer* response) {
  return new PushCall(shard, pushes, response);
}

}  // namespace percentdelta
