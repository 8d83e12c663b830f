// Callers' memory that calls have mapped (common/transport/shared_memory.h), kept for their next calls: mapping
// it anew would cost more than what is gained.

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

// Thread-safe. What its maker does not offer any more, for it has died or let go of it, is forgotten
// when the next one comes that is not known.
class MappedMemory {
 public:
  // The errors are SharedMemory::Map's.
  absl::StatusOr<std::shared_ptr<SharedMemory>> Find(const SharedMemoryName& name, int64_t values);

 private:
  absl::Mutex mutex_;
  std::vector<std::shared_ptr<SharedMemory>> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_MAPPED_MEMORY_H_
