// SPDX-License-Identifier: Apache-2.0

// What a fuzzer claims of every input. Unlike assert(), in every build.

#ifndef PERCENTDELTA_TESTS_FUZZ_CHECK_H_
#define PERCENTDELTA_TESTS_FUZZ_CHECK_H_

#include <cstdio>
#include <cstdlib>

// Ends the program, so that libFuzzer reports and saves the input, unless the condition holds.
#define FUZZ_CHECK(condition)                                                       \
  do {                                                                              \
    if (!(condition)) {                                                             \
      std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                 \
    }                                                                               \
  } while (false)

#endif  // PERCENTDELTA_TESTS_FUZZ_CHECK_H_
