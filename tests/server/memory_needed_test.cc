// SPDX-License-Identifier: Apache-2.0

#include "server/memory_needed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>
#include <string>

#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kMb = 1'000'000;
constexpr int64_t kEntries = 1'000'000;  // 4 MB an array

Job PlainJob(int32_t slots) {
  Job job = SmallJob();
  job.gradients_per_step = slots;
  job.momentum = {};
  return job;
}

struct Row {
  const char* what;
  int64_t entries;
  void (*change)(Job&);
  int64_t least, usual, waiting;  // in MB
};

TEST(MemoryNeededTest, CountsTheJobsArrays) {
  const auto nothing = [](Job&) {};
  const auto slots = [](Job& job) { job.gradients_per_step = 2; };
  const Row rows[] = {
      {"an empty shard", 0, nothing, 24, 60, 0},
      {"one slot", kEntries, nothing, 24 + 12, 60 + 16, 0},
      {"twice the entries", 2 * kEntries, nothing, 24 + 24, 60 + 32, 0},
      {"two slots", kEntries, slots, 24 + 24, 60 + 28, 4},
      {"1024 slots", kEntries, [](Job& job) { job.gradients_per_step = 1024; }, 24 + 24, 60 + 28,
       4},
      {"evaluation", kEntries,
       [](Job& job) {
         job.evaluation = EvaluationSpec{1, 1};
       },
       24 + 16, 60 + 20, 0},
      {"momentum", kEntries, [](Job& job) { job.momentum.coefficient = 0.9; }, 24 + 16, 60 + 24, 0},
      {"Adam", kEntries, [](Job& job) { job.optimizer.rule = AdamRule(); }, 24 + 20, 60 + 32, 0},
      {"checkpoints", kEntries,
       [](Job& job) {
         job.checkpoint = CheckpointSpec{1, "x"};
       },
       24 + 16, 60 + 20, 0},
      {"everything", kEntries,
       [](Job& job) {
         job.gradients_per_step = 3;
         job.evaluation = EvaluationSpec{1, 1};
         job.momentum.coefficient = 0.9;
         job.optimizer.rule = AdamRule();
         job.checkpoint = CheckpointSpec{1, "x"};
       },
       24 + 56, 60 + 72, 4},
      {"a huge model", int64_t{1} << 40, nothing, 24 + (int64_t{12} << 40) / kMb,
       60 + (int64_t{16} << 40) / kMb, 0},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    Job job = PlainJob(1);
    row.change(job);
    const MemoryNeeded needed = NeededMemory(job, {.trained = row.entries});
    EXPECT_EQ(needed.least / kMb, row.least);
    EXPECT_EQ(needed.usual / kMb, row.usual);
    EXPECT_EQ(needed.waiting_gradient / kMb, row.waiting);
  }
}

// A buffer has no state, and needs no memory for its next value besides what is pushed.
TEST(MemoryNeededTest, BuffersNeedLess) {
  for (const int32_t slots : {1, 2}) {
    Job job = PlainJob(slots);
    job.momentum.coefficient = 0.9;
    job.checkpoint = CheckpointSpec{1, "x"};
    const int64_t each = slots == 1 ? 16 : 28;  // MB
    const MemoryNeeded needed = NeededMemory(job, {.buffers = kEntries});
    EXPECT_EQ(needed.least / kMb, 24 + each);
    EXPECT_EQ(needed.usual / kMb, 60 + each + 4);
    EXPECT_EQ(needed.waiting_gradient / kMb, slots == 1 ? 0 : 4);
    const MemoryNeeded both = NeededMemory(job, {.trained = kEntries, .buffers = kEntries});
    EXPECT_EQ(both.least - needed.least, NeededMemory(job, {.trained = kEntries}).least - 24 * kMb);
  }
}

TEST(MemoryNeededTest, EntriesOfAShardAreThoseOfItsRanges) {
  Job job = SmallJob();
  job.model.tensors[kLarge].buffer = true;
  for (const int shards : {1, 3}) {
    const Partition partition(job.model, shards);
    int64_t buffers = 0;
    for (int shard = 0; shard < shards; ++shard) {
      const HeldEntries held = EntriesOfShard(job.model, partition, shard);
      EXPECT_EQ(held.trained + held.buffers, partition.load(shard));
      buffers += held.buffers;
    }
    EXPECT_EQ(buffers, job.model.tensors[kLarge].size());
  }
}

// Two slots: at least 48 MB, usually 88, and 4 for each gradient that waits.
TEST(MemoryNeededTest, SaysWhatFitsAndRefusesWhatCannot) {
  struct Limited {
    int32_t slots;
    int64_t limit;  // in bytes; -1: unknown
    bool fits;
    std::string says;      // in the log
    std::string says_not;  // in it
  };
  const Limited rows[] = {
      {2, -1, true, "memory needed_mb=88 waiting_gradient_mb=4 limit_mb=unknown", "warning"},
      {2, 1000 * kMb, true,
       "memory needed_mb=88 waiting_gradient_mb=4 limit_mb=1000 limit=\"a limit\"", "warning"},
      {2, 92 * kMb, true, "limit_mb=92", "warning"},
      {2, 92 * kMb - 1, true, "warning: memory suffices for few waiting gradients gradients=0 ",
       "may not"},
      {128, 200 * kMb, true, "warning: memory suffices for few waiting gradients gradients=28 ",
       "may not"},
      {128, 600 * kMb, true, "limit_mb=600", "warning"},
      {1, 76 * kMb, true, "needed_mb=76", "warning"},
      {2, 88 * kMb - 1, true, "warning: memory may not suffice needed_mb=88 limit_mb=87", "slots"},
      {2, 48 * kMb, true, "warning: memory may not suffice", "slots"},
      {2, 48 * kMb - 1, false, "", "memory"},
      {2, 1, false, "", "memory"},
      {2, 0, false, "", "memory"},
  };
  for (const Limited& row : rows) {
    SCOPED_TRACE(testing::Message() << row.slots << " slots, limit " << row.limit);
    std::ostringstream lines;
    const auto log = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
    log->set_pattern("%l: %v");
    std::optional<MemoryLimit> limit;
    if (row.limit >= 0) limit = {row.limit, "a limit"};
    const absl::Status status = CheckMemory(PlainJob(row.slots), {.trained = kEntries}, limit, log);
    EXPECT_EQ(status.ok(), row.fits) << status;
    EXPECT_THAT(lines.str(), AllOf(HasSubstr(row.says), Not(HasSubstr(row.says_not))));
    if (row.fits) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("needs at least 48 MB"), HasSubstr("a limit allows"),
                      HasSubstr("1000000 of its")));
  }
}

}  // namespace
}  // namespace percentdelta
