// File descriptors of this process: connections and files take them.

#ifndef PERCENTDELTA_COMMON_BASE_DESCRIPTORS_H_
#define PERCENTDELTA_COMMON_BASE_DESCRIPTORS_H_

namespace percentdelta {

// Raises the soft limit (1024 by habit) to the hard one, at most kMaxDescriptors. Called by
// RunProgram. A limit that cannot be raised stays as it is.
void RaiseDescriptorLimit();

// Enough for any cluster; some systems' hard limit is 2^30, which costs whatever loops over it.
inline constexpr int kMaxDescriptors = 1 << 20;

// The soft limit: descriptors are numbered below it. At most INT_MAX.
int DescriptorLimit();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_DESCRIPTORS_H_
