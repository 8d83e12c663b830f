#include "server/mapped_memory.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>

namespace percentdelta {
namespace {

// A worker has one for pulls and one for pushes, and as many again while it changes over to new
// ones.
constexpr int kMostOfAProcess = 4;

bool IsDead(int32_t process) { return kill(process, 0) != 0 && errno == ESRCH; }

}  // namespace

absl::StatusOr<std::shared_ptr<SharedMemory>> MappedMemory::Find(const SharedMemoryName& name,
                                                                 int64_t values) {
  absl::MutexLock lock(&mutex_);
  const auto known =
      std::find_if(known_.begin(), known_.end(), [&](const std::shared_ptr<SharedMemory>& each) {
        return each->name() == name && static_cast<int64_t>(each->values().size()) == values;
      });
  if (known != known_.end()) {
    known_.splice(known_.begin(), known_, known);
    return known_.front();
  }
  absl::StatusOr<std::shared_ptr<SharedMemory>> memory = SharedMemory::Map(name, values);
  if (!memory.ok()) return memory;
  known_.push_front(*memory);
  Forget(name.process);
  return memory;
}

void MappedMemory::Forget(int32_t process) {
  int of_process = 0;
  known_.remove_if([&](const std::shared_ptr<SharedMemory>& each) {
    const int32_t maker = each->name().process;
    return maker == process ? ++of_process > kMostOfAProcess : IsDead(maker);
  });
}

}  // namespace percentdelta
