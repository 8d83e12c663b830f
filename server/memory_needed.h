// What a job takes of a server's memory, told and checked at start: a process that the kernel ends
// in the middle of a training says nothing, and is started again for the same end.

#ifndef PERCENTDELTA_SERVER_MEMORY_NEEDED_H_
#define PERCENTDELTA_SERVER_MEMORY_NEEDED_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "common/base/log.h"
#include "common/job/job.h"
#include "server/memory_limit.h"

namespace percentdelta {

// In bytes.
struct MemoryNeeded {
  // No training runs with less: a bare process and the arrays that every step has.
  int64_t least = 0;

  // A training whose gradients come in the order of their slots: also messages under way, and the
  // weights with which a new generation begins beside the old one's.
  int64_t usual = 0;

  // Beyond that, for each gradient that came before its turn; about one of every worker but one.
  // 0: the job has one slot.
  int64_t waiting_gradient = 0;
};

// Of a process that holds `entries` of the job's model (Partition::load).
MemoryNeeded NeededMemory(const Job& job, int64_t entries);

// Logs what is needed and the limit. kResourceExhausted: the least is above the limit.
absl::Status CheckMemory(const Job& job, int64_t entries, const std::optional<MemoryLimit>& limit,
                         const Logger& log);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_MEMORY_NEEDED_H_
