// SPDX-License-Identifier: Apache-2.0

// Memory that two processes on one machine share, so that values need not pass through the kernel.
//
// Its creator offers it by name: PID, descriptor in that process, and a key with which the memory
// begins. Another process opens it as /proc/PID/fd/DESCRIPTOR, which requires the same user (or
// root) and the same PID namespace; elsewhere that name does not exist, or the key differs. The
// memory has no name in any file system, so that nothing is left when its processes die.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_SHARED_MEMORY_H_
#define PERCENTDELTA_COMMON_TRANSPORT_SHARED_MEMORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/descriptors.h"

namespace percentdelta {

struct SharedMemoryName {
  int32_t process = 0;
  int32_t descriptor = 0;  // in that process
  std::string key;

  bool operator==(const SharedMemoryName&) const = default;
};

// A mapping of shared memory, for reading and writing. Thread-safe itself; the processes must agree
// on when each may access which values. The memory lives as long as any mapping of it.
class SharedMemory {
 public:
  // Makes shared memory of `values` values, all 0. Only pages that are touched take memory. Errors
  // are the system's.
  static absl::StatusOr<std::shared_ptr<SharedMemory>> Make(int64_t values);

  // Maps what another process of the same user, or this one, has made. Safe with any name: opens
  // only files that Make() has made, and maps only those that cannot be truncated.
  //   kNotFound          does not exist here
  //   kInvalidArgument   has another key or size, or is not shared memory
  //   kPermissionDenied  belongs to another user
  //   others             the system's error
  static absl::StatusOr<std::shared_ptr<SharedMemory>> Map(const SharedMemoryName& name,
                                                           int64_t values);

  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  const SharedMemoryName& name() const { return name_; }

  absl::Span<float> values() const { return values_; }

  // Whether it still exists under its name: its creator lives, and may use it again.
  bool is_offered() const;

 private:
  SharedMemory(SharedMemoryName name, UniqueDescriptor descriptor, uint64_t inode, void* begin,
               int64_t values);

  const SharedMemoryName name_;
  const UniqueDescriptor descriptor_;  // the creator's, which others open; empty: mapped
  const uint64_t inode_;               // unique among shared memory that exists at the same time
  void* const begin_;
  const absl::Span<float> values_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_SHARED_MEMORY_H_
