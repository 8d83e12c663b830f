// Callers' memory that calls have mapped (common/shared_memory.h), kept for their next calls:
// mapping it anew would cost more than what is gained.

#ifndef PERCENTDELTA_SERVER_MAPPED_MEMORY_H_
#define PERCENTDELTA_SERVER_MAPPED_MEMORY_H_

#include <cstdint>
#include <list>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/shared_memory.h"

namespace percentdelta {

// Thread-safe. Holds the few of each process that were used last. Those of a process that has died
// go when the next one comes that is not known.
class MappedMemory {
 public:
  // The errors are SharedMemory::Map's.
  absl::StatusOr<std::shared_ptr<SharedMemory>> Find(const SharedMemoryName& name, int64_t values);

 private:
  void Forget(int32_t process) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::list<std::shared_ptr<SharedMemory>> known_ ABSL_GUARDED_BY(mutex_);  // last used first
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_MAPPED_MEMORY_H_
