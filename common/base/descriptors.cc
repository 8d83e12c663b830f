// SPDX-License-Identifier: Apache-2.0

#include "common/base/descriptors.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace percentdelta {

UniqueDescriptor& UniqueDescriptor::operator=(UniqueDescriptor&& other) noexcept {
  if (this == &other) return *this;
  Close();
  descriptor_ = other.Release();
  return *this;
}

int UniqueDescriptor::Close() {
  if (!ok()) return 0;
  const int before = errno;
  const int error = close(Release()) == 0 || errno == EINTR ? 0 : errno;
  errno = before;
  return error;
}

ssize_t ReadSome(const UniqueDescriptor& file, void* bytes, size_t size) {
  ssize_t got = 0;
  do {
    got = read(file.get(), bytes, size);
  } while (got < 0 && errno == EINTR);
  return got;
}

void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, kMaxDescriptors);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int DescriptorLimit() {
  constexpr int kMax = std::numeric_limits<int>::max();
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMax;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, kMax));
}

}  // namespace percentdelta
