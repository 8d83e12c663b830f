// SPDX-License-Identifier: Apache-2.0

// The text of a job. A job that is accepted can be written and read again, and is the same.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "common/job/job_codec.h"
#include "common/job/partition.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace percentdelta;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<Job> job = ParseJob(text, "fuzz");
  FUZZ_CHECK(job.ok() || !job.status().message().empty());
  if (!job.ok()) return 0;
  const absl::StatusOr<Job> again = ParseJob(JobToText(*job), "again");
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(JobHash(*again) == JobHash(*job));
  FUZZ_CHECK(DecisiveDifferences(*job, *again).empty());
  FUZZ_CHECK(job->model.size() > 0);
  if (job->model.size() < int64_t{1} << 32) Partition(job->model, 3).load(0);
  return 0;
}
