#include "common/base/descriptors.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace percentdelta {

void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, kMaxDescriptors);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int DescriptorLimit() {
  constexpr int kMost = std::numeric_limits<int>::max();
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMost;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, kMost));
}

}  // namespace percentdelta
