// SPDX-License-Identifier: Apache-2.0

#include "server/shard/gradient_assembly.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/float_bytes.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

template <typename Expected, typename Got>
absl::Status Refuse(absl::string_view tensor, const Expected& expected, const Got& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", tensor, ": expected ", expected, ", got ", got));
}

}  // namespace

GradientAssembly::GradientAssembly(std::shared_ptr<ShardState> state, int64_t step, int32_t slot,
                                   bool for_checkpoint)
    : state_(std::move(state)), step_(step), slot_(slot), for_checkpoint_(for_checkpoint) {
  for (const auto& slice : state_->slices()) parts_.emplace_back().slice = slice.get();
}

absl::Status GradientAssembly::CheckChunk(const Part& part, absl::string_view tensor, int64_t begin,
                                          size_t bytes) const {
  const TensorRange& range = part.slice->range();
  if (bytes == 0 || bytes % sizeof(float) != 0) {
    return Refuse(tensor, "a positive multiple of 4 bytes", absl::StrCat(bytes, " bytes"));
  }
  const auto count = static_cast<int64_t>(bytes / sizeof(float));
  if (count > kMaxChunkEntries) {
    return Refuse(tensor, absl::StrCat("a chunk of at most ", kMaxChunkEntries, " values"),
                  absl::StrCat(count, " values"));
  }
  const int64_t next = range.begin + part.received;
  if (begin != next) {
    const absl::string_view what = begin < next ? "which overlaps" : "which leaves a gap";
    return Refuse(tensor, absl::StrCat("the values from entry ", next, " on"),
                  absl::StrCat("entry ", begin, ", ", what));
  }
  if (count > range.end - begin) {
    return Refuse(tensor,
                  absl::StrCat("at most ", range.end - begin, " values up to entry ", range.end,
                               ", where this shard's slice ends"),
                  absl::StrCat(count, " values"));
  }
  return absl::OkStatus();
}

absl::Status GradientAssembly::Add(absl::string_view tensor, int64_t begin,
                                   absl::Span<const absl::string_view> pieces) {
  size_t bytes = 0;
  for (const absl::string_view piece : pieces) bytes += piece.size();
  ASSIGN_OR_RETURN(ShardSlice* const slice, state_->FindSlice(tensor));
  Part& part = *std::find_if(parts_.begin(), parts_.end(),
                             [&](const Part& candidate) { return candidate.slice == slice; });
  RETURN_IF_ERROR(CheckChunk(part, tensor, begin, bytes));
  if (part.received == 0) {
    if (step_ > part.slice->current().step) {
      return absl::FailedPreconditionError(absl::StrCat("tensor ", tensor, ": expected step ",
                                                        part.slice->current().step, ", got ", step_,
                                                        ", which this shard has not reached"));
    }
    part.duplicate = part.slice->Has(step_, slot_);
    if (!part.duplicate) part.gradient = part.slice->TakeEmptyBuffer();
    part.span = AsyncSpan(state_->tracer(), "receive gradient",
                          {.step = step_, .slot = slot_, .tensor = tensor});
  }
  const auto count = static_cast<int64_t>(bytes / sizeof(float));
  if (!part.duplicate) {
    const auto filled = static_cast<size_t>(part.received + count);
    if (part.gradient->size() < filled) part.gradient->resize(filled);
    const absl::Span<float> values = absl::MakeSpan(*part.gradient).subspan(part.received, count);
    CopyFromBytes(pieces, values);
    if (const int64_t bad = FindNonFinite(values); bad >= 0) {
      return Refuse(tensor, "finite values", absl::StrCat(values[bad], " at entry ", begin + bad));
    }
  }
  part.received += count;
  if (!part.duplicate) buffered_bytes_ += static_cast<int64_t>(bytes);
  if (part.received < part.slice->range().size()) return absl::OkStatus();

  part.span.End();
  bool is_new = false;
  if (!part.duplicate) {
    buffered_bytes_ -= part.received * static_cast<int64_t>(sizeof(float));
    ASSIGN_OR_RETURN(is_new, state_->Stage(*part.slice, step_, slot_,
                                           std::exchange(part.gradient, nullptr), for_checkpoint_));
  }
  ++(is_new ? staged_slices_ : duplicate_slices_);
  return absl::OkStatus();
}

absl::Status GradientAssembly::Finish() const {
  for (const Part& part : parts_) {
    const TensorRange& range = part.slice->range();
    if (part.received == range.size() || part.slice->Has(step_, slot_)) continue;
    return Refuse(state_->job().model.tensors[range.tensor].name,
                  absl::StrCat("the values of entries ", range.begin, "..", range.end - 1),
                  part.received == 0 ? std::string("none")
                                     : absl::StrCat("entries ", range.begin, "..",
                                                    range.begin + part.received - 1));
  }
  return absl::OkStatus();
}

}  // namespace percentdelta
