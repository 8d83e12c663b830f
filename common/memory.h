// How the process deals with memory that it has freed.

#ifndef PERCENTDELTA_COMMON_MEMORY_H_
#define PERCENTDELTA_COMMON_MEMORY_H_

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace percentdelta {

// Keeps freed memory up to 64 MiB at an arena's end for the next allocation, instead of giving it
// back to the kernel and getting it anew, page by page: gRPC allocates and frees the whole model in
// every step. Few arenas, for each of them would come to keep as much: with one a thread, which is
// glibc's way, a server grows for as long as new threads come to handle large messages. Called at
// the start of main.
inline void KeepFreedMemory() {
#if defined(__GLIBC__)
  constexpr int kKept = 64 << 20;
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, kKept / 2);
  mallopt(M_TRIM_THRESHOLD, kKept);
  mallopt(M_TOP_PAD, kKept / 4);
#endif
}

// Gives all that is free back to the kernel after all: what piled up while a peer was slow or away
// would be kept for ever. Takes some milliseconds, off the way of a gradient.
inline void GiveBackFreedMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_MEMORY_H_
