// SPDX-License-Identifier: Apache-2.0

#include "common/job/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/job/job_codec.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

ModelSpec PapersModel() {
  const auto job = ParseJob(DefaultJobText(), "the default job");
  EXPECT_OK(job);
  return job->model;
}

ModelSpec ModelOf(const std::vector<int64_t>& sizes) {
  ModelSpec model;
  for (size_t i = 0; i < sizes.size(); ++i) {
    model.tensors.push_back({absl::StrCat("t", i), {sizes[i]}, ConstantInitializer{1}});
  }
  return model;
}

// Checks everything that partition.h promises.
void ExpectValid(const ModelSpec& model, int shards) {
  SCOPED_TRACE(absl::StrCat(shards, " shards, ", model.size(), " entries"));
  const Partition partition(model, shards);
  ASSERT_EQ(partition.shards(), shards);

  std::set<std::pair<int, int64_t>> of_tensors;
  std::vector<int64_t> loads(shards);
  for (int tensor = 0; tensor < static_cast<int>(model.tensors.size()); ++tensor) {
    const std::vector<TensorRange>& ranges = partition.ranges_of_tensor(tensor);
    ASSERT_FALSE(ranges.empty());
    if (model.tensors[tensor].size() <= kBlockEntries) {
      EXPECT_THAT(ranges, SizeIs(1));
    }
    EXPECT_EQ(partition.home(tensor), ranges.front().shard);
    int64_t next = 0;
    int last_shard = -1;
    for (const TensorRange& range : ranges) {
      EXPECT_EQ(range.tensor, tensor);
      EXPECT_EQ(range.begin, next);
      EXPECT_EQ(range.begin % kBlockEntries, 0);
      EXPECT_GT(range.size(), 0);
      EXPECT_GT(range.shard, last_shard);  // so no shard has two
      EXPECT_LT(range.shard, shards);
      EXPECT_EQ(range.first_block() * kBlockEntries, range.begin);
      EXPECT_EQ(range.blocks(), (range.size() + kBlockEntries - 1) / kBlockEntries);
      next = range.end;
      last_shard = range.shard;
      loads[range.shard] += range.size();
      of_tensors.emplace(tensor, range.begin);
    }
    EXPECT_EQ(next, model.tensors[tensor].size());
  }

  size_t of_shards = 0;
  for (int shard = 0; shard < shards; ++shard) {
    int last_tensor = -1;
    for (const TensorRange& range : partition.ranges_of_shard(shard)) {
      EXPECT_EQ(range.shard, shard);
      EXPECT_GT(range.tensor, last_tensor);
      last_tensor = range.tensor;
      EXPECT_TRUE(of_tensors.contains({range.tensor, range.begin}));
      ++of_shards;
    }
    EXPECT_EQ(partition.load(shard), loads[shard]);
    // At most a block more than the mean, without rounding the mean.
    EXPECT_LE((loads[shard] - kBlockEntries) * shards, model.size()) << "shard " << shard;
  }
  EXPECT_EQ(of_shards, of_tensors.size());
}

TEST(PartitionTest, PapersModelIsBalanced) {
  const ModelSpec model = PapersModel();
  for (const int shards : {2, 3, 4, 8}) ExpectValid(model, shards);
}

TEST(PartitionTest, AnyNumberOfShards) {
  const ModelSpec model = PapersModel();
  for (int shards = 1; shards <= 64; ++shards) ExpectValid(model, shards);
}

TEST(PartitionTest, AnyModel) {
  constexpr uint64_t kSeed = 99;
  RandomStream random(kSeed, 0);
  for (int i = 0; i < 200; ++i) {
    SCOPED_TRACE(absl::StrCat("seed ", kSeed, " model ", i));
    std::vector<int64_t> sizes(1 + random.Below(6));
    for (int64_t& size : sizes) {
      const int64_t largest = random.Below(3) == 0 ? 10 * kBlockEntries : 100;
      size = 1 + static_cast<int64_t>(random.Below(largest));
      if (random.Below(5) == 0) size = kBlockEntries * (1 + static_cast<int64_t>(random.Below(3)));
    }
    ExpectValid(ModelOf(sizes), 1 + static_cast<int>(random.Below(12)));
  }
}

TEST(PartitionTest, OneShardHasEverythingWhole) {
  const ModelSpec model = PapersModel();
  const Partition partition(model, 1);
  EXPECT_THAT(partition.ranges_of_shard(0), SizeIs(model.tensors.size()));
  EXPECT_EQ(partition.load(0), model.size());
}

TEST(PartitionTest, MoreShardsThanBlocks) {
  ExpectValid(ModelOf({2 * kBlockEntries + 1, 3}), 10);
  ExpectValid(ModelOf({1, 1, 1}), 50);
}

TEST(PartitionTest, OneScalar) {
  ModelSpec model;
  model.tensors = {{"scalar", {}, ConstantInitializer{1}}};
  ExpectValid(model, 1);
  ExpectValid(model, 4);
  const Partition partition(model, 4);
  EXPECT_EQ(partition.home(0), 0);
  EXPECT_EQ(partition.ranges_of_tensor(0)[0].end, 1);
  EXPECT_THAT(partition.ranges_of_shard(3), IsEmpty());
  EXPECT_EQ(partition.load(3), 0);
}

// Servers of different builds must agree, so the result itself is fixed.
TEST(PartitionTest, GoldenCut) {
  const Partition partition(PapersModel(), 3);
  std::string cut;
  for (int shard = 0; shard < 3; ++shard) {
    for (const TensorRange& range : partition.ranges_of_shard(shard)) {
      absl::StrAppend(&cut, range.tensor, ":", range.begin, "-", range.end, " ");
    }
    cut += "| ";
  }
  EXPECT_EQ(cut,
            "0:0-800 1:0-32 2:0-51200 3:0-64 4:0-1048576 | 4:1048576-2146"
            "304 | 4:2146304-3211264 5:0-1024 6:0-10240 7:0-10 | ");
}

TEST(BlockCountTest, RoundsUp) {
  EXPECT_EQ(BlockCount(0), 0);
  EXPECT_EQ(BlockCount(1), 1);
  EXPECT_EQ(BlockCount(kBlockEntries), 1);
  EXPECT_EQ(BlockCount(kBlockEntries + 1), 2);
}

}  // namespace
}  // namespace percentdelta
