// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/cluster_info_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

ClusterInfo InfoOf(const std::vector<int64_t>& sizes, int shards) {
  ClusterInfo info;
  info.generation = 7;
  for (size_t i = 0; i < sizes.size(); ++i) {
    info.job.model.tensors.push_back({absl::StrCat("t", i), {sizes[i]}, {}});
  }
  for (int shard = 0; shard < shards; ++shard) {
    info.shard_addresses.push_back(absl::StrCat("server-", shard, ":5000"));
  }
  return info;
}

v1::GetJobResponse ProtoOf(const ClusterInfo& info, int shards) {
  v1::GetJobResponse proto;
  ToProto(info, Partition(info.job.model, shards), proto);
  return proto;
}

TEST(ClusterInfoProtoTest, PartitionIsByTensorAndThenByFirstEntry) {
  const v1::GetJobResponse proto = ProtoOf(InfoOf({5, 3 * kBlockEntries, 7}, 3), 3);
  std::vector<std::string> slices;
  for (const v1::Slice& slice : proto.partition()) {
    slices.push_back(
        absl::StrCat(slice.tensor(), ":", slice.begin(), "..", slice.end(), " on ", slice.shard()));
  }
  EXPECT_THAT(slices, testing::ElementsAre("0:0..5 on 0", "1:0..16384 on 0", "1:16384..49152 on 1",
                                           "2:0..7 on 2"));
}

TEST(ClusterInfoProtoTest, NoPartitionWhileShardsAreGathering) {
  EXPECT_EQ(ProtoOf(InfoOf({5}, 0), 3).partition_size(), 0);
}

// As much as a job may have: small beside the job, and far below the limit of a message.
TEST(ClusterInfoProtoTest, PartitionOfManyTensorsIsSmall) {
  constexpr int kTensors = 10000;
  constexpr int kShards = 64;
  const ClusterInfo info = InfoOf(std::vector<int64_t>(kTensors, 3 * kBlockEntries + 1), kShards);
  v1::GetJobResponse proto = ProtoOf(info, kShards);
  EXPECT_LT(proto.partition_size(), kTensors + kShards);
  int64_t entries = 0;
  for (const v1::Slice& slice : proto.partition()) entries += slice.end() - slice.begin();
  EXPECT_EQ(entries, info.job.model.size());
  proto.clear_job();
  EXPECT_LT(proto.ByteSizeLong(), 200'000U);
}

}  // namespace
}  // namespace percentdelta
