// Memory that two processes of one machine share, so that values need not go through the kernel.
//
// Its maker offers it by name: its own PID, the descriptor there, and a key that the memory begins
// with. Who maps it finds it as /proc/PID/fd/DESCRIPTOR, which it can as the same user (or as root)
// in the same PID namespace; anywhere else there is nothing under that name, or something with
// another key. It has no name in any file system, so that nothing is left when its processes die.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_SHARED_MEMORY_H_
#define PERCENTDELTA_COMMON_TRANSPORT_SHARED_MEMORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace percentdelta {

struct SharedMemoryName {
  int32_t process = 0;
  int32_t descriptor = 0;  // of that process
  std::string key;

  bool operator==(const SharedMemoryName&) const = default;
};

// A mapping of it, for reading and writing. Thread-safe itself; when which process may touch which
// values is for them to agree on. The memory lives as long as any mapping of it.
class SharedMemory {
 public:
  // Makes one of so many values, all 0. Only those that are touched take memory.
  //   others  the system's reason
  static absl::StatusOr<std::shared_ptr<SharedMemory>> Make(int64_t values);

  // Maps one that another process, or this one, has made. No name does any harm: what is not called
  // as Make calls it is not even opened, and nothing is mapped that can be made smaller under our
  // hands.
  //   kNotFound            there is none of this name here
  //   kInvalidArgument     what there is has another key or size, or is no shared memory
  //   others               the system's reason
  static absl::StatusOr<std::shared_ptr<SharedMemory>> Map(const SharedMemoryName& name,
                                                           int64_t values);

  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  const SharedMemoryName& name() const { return name_; }

  absl::Span<float> values() const { return values_; }

  // Whether it is still there under its name: its maker lives, and may use it again.
  bool is_offered() const;

 private:
  SharedMemory(SharedMemoryName name, int descriptor, uint64_t inode, void* begin, int64_t values);

  const SharedMemoryName name_;
  const int descriptor_;  // the maker's, which others look at; -1: mapped
  const uint64_t inode_;  // no other shared memory has it at the same time
  void* const begin_;
  const absl::Span<float> values_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_SHARED_MEMORY_H_
