#include "server/rpc/push.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/chunk_codec.h"
#include "common/grpc_status.h"
#include "server/gradient_assembly.h"

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
      if (absl::Status status = Begin(); !status.ok()) return status;
      if (chunk_.tensor.empty() && chunk_.pieces.empty()) return absl::OkStatus();
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
    assembly_.emplace(*std::move(state), header.step(), header.slot(), header.checkpoint());
    return absl::OkStatus();
  }

  // The stream's end: the caller's, or that of the connection, whose answer nobody hears.
  absl::Status End() {
    if (!assembly_) {
      return absl::InvalidArgumentError("push: expected a header, got an empty stream");
    }
    if (absl::Status status = assembly_->Finish(); !status.ok()) return status;
    v1::PushResponse response;
    response.set_staged_slices(assembly_->staged_slices());
    response.set_duplicate_slices(assembly_->duplicate_slices());
    *response_ = EncodeMessage(response);
    return absl::OkStatus();
  }

  const Shard& shard_;
  std::atomic<int>& pushes_;
  grpc::ByteBuffer* const response_;
  grpc::ByteBuffer message_;  // of the read in flight
  Chunk chunk_;               // the message's; kept for its memory
  std::optional<GradientAssembly> assembly_;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* StartPush(const Shard& shard, std::atomic<int>& pushes,
                                                     grpc::ByteBuffer* response) {
  return new PushCall(shard, pushes, response);
}

}  // namespace percentdelta
