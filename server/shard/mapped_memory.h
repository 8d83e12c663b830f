// SPDX-License-Identifier: Apache-2.0

// Callers' memory that calls have mapped (common/transport/shared_memory.h), kept for their next calls: to map
// it for every call would cost more than it saves.

#ifndef PERCENTDELTA_SERVER_SHARD_MAPPED_MEMORY_H_
#define PERCENTDELTA_SERVER_SHARD_MAPPED_MEMORY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/transport/shared_memory.h"

namespace percentdelta {

// Thread-safe. Memory that its owner no longer offers, because it has died or released it, is unmapped
// when the next unknown memory is mapped.
class MappedMemory {
 public:
  // Returns the memory, mapped. Errors: those of SharedMemory::Map.
  absl::StatusOr<std::shared_ptr<SharedMemory>> Find(const SharedMemoryName& name, int64_t values);

 private:
  absl::Mutex mutex_;
  std::vector<std::shared_ptr<SharedMemory>> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_MAPPED_MEMORY_H_
