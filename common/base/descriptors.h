// SPDX-License-Identifier: Apache-2.0

// File descriptors of this process: their owner, reading, and their limit.

#ifndef PERCENTDELTA_COMMON_BASE_DESCRIPTORS_H_
#define PERCENTDELTA_COMMON_BASE_DESCRIPTORS_H_

#include <sys/types.h>

#include <cstddef>
#include <utility>

namespace percentdelta {

// Owns a file descriptor, and closes it at the end. Movable; not thread-safe.
class UniqueDescriptor {
 public:
  UniqueDescriptor() = default;

  // -1, or what a failed open() returned: owns nothing.
  explicit UniqueDescriptor(int descriptor) : descriptor_(descriptor) {}
  ~UniqueDescriptor() { Close(); }
  UniqueDescriptor(UniqueDescriptor&& other) noexcept : descriptor_(other.Release()) {}
  UniqueDescriptor& operator=(UniqueDescriptor&& other) noexcept;

  bool ok() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

  // Hands the descriptor over to the caller.
  int Release() { return std::exchange(descriptor_, -1); }

  // Closes the descriptor, if there is one. Returns 0, or why what was written may be lost: some
  // network file systems report a full disk only here. Leaves errno unchanged.
  int Close();

 private:
  int descriptor_ = -1;
};

// read(2), repeated while a signal interrupts it.
ssize_t ReadSome(const UniqueDescriptor& file, void* bytes, size_t size);

// Raises the soft limit (usually 1024) to the hard one, but to no more than kMaxDescriptors.
// Called by RunProgram. A limit that cannot be raised stays as it is.
void RaiseDescriptorLimit();

// Enough for any cluster. Some systems' hard limit is 2^30, which slows down every loop over it.
inline constexpr int kMaxDescriptors = 1 << 20;

// The soft limit: every descriptor is less than it. At most INT_MAX.
int DescriptorLimit();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_DESCRIPTORS_H_
