// SPDX-License-Identifier: Apache-2.0

// Shared memory that a caller offers: which file it is, what it begins with, how long it is, what
// it is sealed against, and the name under which the caller offers it.

#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/base/descriptors.h"
#include "common/transport/shared_memory.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  constexpr int kHead = 4096;
  FuzzedDataProvider input(data, size);
  const char* const name = input.ConsumeBool() ? "percentdelta" : "other";
  const UniqueDescriptor file(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  FUZZ_CHECK(file.ok());
  const std::string key = input.ConsumeRandomLengthString(20);
  FUZZ_CHECK(write(file.get(), key.data(), key.size()) == static_cast<ssize_t>(key.size()));
  const auto values = input.ConsumeIntegralInRange<int64_t>(-1, 64);
  const bool exact = input.ConsumeBool();
  const auto bytes = exact ? kHead + 4 * values : input.ConsumeIntegralInRange<int>(0, 8192);
  FUZZ_CHECK(ftruncate(file.get(), bytes) == 0);
  fcntl(file.get(), F_ADD_SEALS, input.ConsumeIntegralInRange<int>(0, 15));
  SharedMemoryName offered;
  offered.process = input.ConsumeBool() ? getpid() : input.ConsumeIntegral<int32_t>();
  offered.descriptor = input.ConsumeBool() ? file.get() : input.ConsumeIntegral<int32_t>();
  offered.key = input.ConsumeBool() ? key : input.ConsumeRandomLengthString(20);
  const auto wanted = input.ConsumeBool() ? values : input.ConsumeIntegral<int64_t>();
  const auto mapped = SharedMemory::Map(offered, wanted);
  if (!mapped.ok()) return 0;
  FUZZ_CHECK(static_cast<int64_t>((*mapped)->values().size()) == wanted);
  FUZZ_CHECK((*mapped)->is_offered());
  // The owner cannot take it back while it is mapped.
  FUZZ_CHECK(wanted == 0 || ftruncate(file.get(), 0) != 0);
  for (float& value : (*mapped)->values()) value += 1;
  return 0;
}
