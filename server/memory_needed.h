// SPDX-License-Identifier: Apache-2.0

// The memory that a job needs in a server, logged and checked at start: a process that the kernel
// kills in the middle of a training reports nothing, and after a restart it is killed again.

#ifndef PERCENTDELTA_SERVER_MEMORY_NEEDED_H_
#define PERCENTDELTA_SERVER_MEMORY_NEEDED_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "common/base/log.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/memory_limit.h"

namespace percentdelta {

// In bytes.
struct MemoryNeeded {
  // The minimum: a bare process and the arrays that every step has.
  int64_t least = 0;

  // For a training whose gradients come in the order of their slots: also messages in flight, and
  // the initial weights of a new generation in addition to the old one's.
  int64_t usual = 0;

  // In addition, for each gradient that comes before its turn; about one of every worker but one.
  // 0: the job has one slot.
  int64_t waiting_gradient = 0;
};

// What a process holds of the job's model.
struct HeldEntries {
  int64_t trained = 0;
  int64_t buffers = 0;  // they have no state, and the mean of what is pushed is the next value
};
HeldEntries EntriesOfShard(const ModelSpec& model, const Partition& partition, int shard);

MemoryNeeded NeededMemory(const Job& job, HeldEntries entries);

// Logs the needed memory and the limit. kResourceExhausted: the minimum is above the limit.
absl::Status CheckMemory(const Job& job, HeldEntries entries,
                         const std::optional<MemoryLimit>& limit, const Logger& log);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_MEMORY_NEEDED_H_
