// SPDX-License-Identifier: Apache-2.0

#include "server/shard/mapped_memory.h"

#include "absl/status/status.h"

namespace percentdelta {

absl::StatusOr<std::shared_ptr<SharedMemory>> MappedMemory::Find(const SharedMemoryName& name,
                                                                 int64_t values) {
  absl::MutexLock lock(&mutex_);
  for (const std::shared_ptr<SharedMemory>& known : known_) {
    if (known->name() == name && static_cast<int64_t>(known->values().size()) == values) {
      return known;
    }
  }
  std::erase_if(known_, [](const auto& known) { return !known->is_offered(); });
  absl::StatusOr<std::shared_ptr<SharedMemory>> memory = SharedMemory::Map(name, values);
  if (memory.ok()) known_.push_back(*memory);
  return memory;
}

}  // namespace percentdelta
