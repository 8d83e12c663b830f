// Functions that are compiled for each instruction set; the program picks one when it starts.

#ifndef PERCENTDELTA_SERVER_UPDATE_VECTOR_CLONES_H_
#define PERCENTDELTA_SERVER_UPDATE_VECTOR_CLONES_H_

// Put before a function whose loops profit from wider registers. All clones compute the same bits:
// nothing is fused (-ffp-contract=off), and the order of a sum is written in the source. Not used
// under sanitizers, which start after the choice.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PD_HAS_VECTOR_CLONES
#define PD_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PD_VECTOR_CLONES
#endif

#endif  // PERCENTDELTA_SERVER_UPDATE_VECTOR_CLONES_H_
