// SPDX-License-Identifier: Apache-2.0

#include "server/memory_needed.h"

#include "absl/strings/str_cat.h"
#include "server/update/optimizer.h"

namespace percentdelta {
namespace {

constexpr int64_t kMegabyte = 1'000'000;

// Measured, both without the arrays: a server that waits for workers; and its growth while it
// trains, most of which is memory that gRPC's messages freed (RetainFreedMemory).
constexpr int64_t kProcess = 24 * kMegabyte;
constexpr int64_t kMessages = 36 * kMegabyte;

// Rounded up.
int64_t Megabytes(int64_t bytes) { return (bytes + kMegabyte - 1) / kMegabyte; }

}  // namespace

HeldEntries EntriesOfShard(const ModelSpec& model, const Partition& partition, int shard) {
  HeldEntries held;
  for (const TensorRange& range : partition.ranges_of_shard(shard)) {
    (model.tensors[range.tensor].buffer ? held.buffers : held.trained) += range.size();
  }
  return held;
}

MemoryNeeded NeededMemory(const Job& job, HeldEntries entries) {
  const auto state = static_cast<int64_t>(StateNames(job).size());
  const int64_t initial = 1 + state;  // of a generation; also what a checkpoint holds
  // Per entry: the current and previous weights, and what is pushed, which becomes the next ones.
  int64_t floats = 3;
  if (job.evaluation) floats += 1;  // the evaluated weights
  if (job.checkpoint) floats += 1;
  if (job.gradients_per_step > 1) {
    floats += 2 + 1;  // the sum, in double; a gradient is added while another one is received
  }
  // Per trained entry besides: the state, and what a checkpoint holds of it.
  const int64_t trained_floats = (job.checkpoint ? 2 : 1) * state;
  constexpr auto kBytes = static_cast<int64_t>(sizeof(float));
  const int64_t array = (entries.trained + entries.buffers) * kBytes;
  MemoryNeeded needed;
  needed.least = kProcess + floats * array + trained_floats * entries.trained * kBytes;
  needed.usual = needed.least + kMessages + (initial * entries.trained + entries.buffers) * kBytes;
  if (job.gradients_per_step > 1) needed.waiting_gradient = array;
  return needed;
}

absl::Status CheckMemory(const Job& job, HeldEntries entries,
                         const std::optional<MemoryLimit>& limit, const Logger& log) {
  const MemoryNeeded needed = NeededMemory(job, entries);
  if (!limit) {
    log->info("memory needed_mb={} waiting_gradient_mb={} limit_mb=unknown",
              Megabytes(needed.usual), Megabytes(needed.waiting_gradient));
    return absl::OkStatus();
  }
  const int64_t limit_mb = limit->bytes / kMegabyte;
  if (needed.least > limit->bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("memory: job ", job.name, " needs at least ", Megabytes(needed.least),
                     " MB here, for ", entries.trained + entries.buffers, " of its ",
                     job.model.size(), " weights, and ", limit->name, " allows ", limit_mb,
                     " MB; allow more, or split the model over more servers"));
  }
  log->info("memory needed_mb={} waiting_gradient_mb={} limit_mb={} limit=\"{}\"",
            Megabytes(needed.usual), Megabytes(needed.waiting_gradient), limit_mb, limit->name);
  if (needed.usual > limit->bytes) {
    log->warn("memory may not suffice needed_mb={} limit_mb={} limit=\"{}\"",
              Megabytes(needed.usual), limit_mb, limit->name);
    return absl::OkStatus();
  }
  if (needed.waiting_gradient == 0) return absl::OkStatus();
  const int64_t room = (limit->bytes - needed.usual) / needed.waiting_gradient;
  if (room < job.gradients_per_step - 1) {
    log->warn(
        "memory suffices for few waiting gradients gradients={} slots={} effect=\"more workers than"
        " that, or one that is much slower than the others, may need more\"",
        room, job.gradients_per_step);
  }
  return absl::OkStatus();
}

}  // namespace percentdelta
