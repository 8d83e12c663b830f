// How the process deals with memory that it has freed.

#ifndef PERCENTDELTA_COMMON_MEMORY_H_
#define PERCENTDELTA_COMMON_MEMORY_H_

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace percentdelta {

// Keeps freed memory up to 64 MiB at an arena's end for the next allocation, instead of giving it
// back to the kernel and getting it anew, page by page: gRPC allocates and frees the whole model in
// every step. Called at the start of main.
inline void KeepFreedMemory() {
#if defined(__GLIBC__)
  constexpr int kKept = 64 << 20;
  mallopt(M_MMAP_THRESHOLD, kKept / 2);
  mallopt(M_TRIM_THRESHOLD, kKept);
  mallopt(M_TOP_PAD, kKept / 4);
#endif
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_MEMORY_H_
