// SPDX-License-Identifier: Apache-2.0

// A checkpoint's history, and what a coordinator does with it.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/history_file.h"
#include "server/coordinator/statistics_ring.h"
#include "tests/fuzz/check.h"

namespace percentdelta {
namespace {

// Of the process; its one file is removed by the fuzzer's caller (tests/fuzz/run sets TMPDIR).
const std::string& Directory() {
  static const std::string* const kDirectory = [] {
    const char* const parent = std::getenv("TMPDIR");
    auto* path = new std::string(absl::StrCat(parent == nullptr ? "/tmp" : parent, "/XXXXXX"));
    FUZZ_CHECK(mkdtemp(path->data()) != nullptr);
    return path;
  }();
  return *kDirectory;
}

Job RingJob() {
  Job job;
  job.max_steps = 10;
  job.model.tensors = {{"a/weights", {2, 3}, ConstantInitializer{0.5}}};
  return job;
}

}  // namespace
}  // namespace percentdelta

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  std::ofstream(absl::StrCat(Directory(), "/", kHistoryName), std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const absl::StatusOr<History> history = ReadHistory(Directory());
  FUZZ_CHECK(history.ok() || absl::IsDataLoss(history.status()));
  if (!history.ok()) return 0;
  static const Job* const kJob = new Job(RingJob());
  StatisticsRing ring(*kJob, 5);
  for (const int64_t step : {int64_t{3}, int64_t{0}, kJob->max_steps}) {
    ring.Begin(1, step, history->statistics);
    FUZZ_CHECK(ring.newest() < step);
    ring.Range(0, step, "a");
    ring.IsCompleteBefore(step);
  }
  return 0;
}
