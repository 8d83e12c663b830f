// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/lease_ids.h"

#include <cstdint>
#include <set>

#include "gtest/gtest.h"

namespace percentdelta {
namespace {

TEST(LeaseIdsTest, RevealsWhatItHides) {
  const LeaseIds ids;
  for (const uint64_t id : {uint64_t{1}, uint64_t{2}, uint64_t{1} << 32, ~uint64_t{0}}) {
    EXPECT_EQ(ids.Reveal(ids.Hide(id)), id);
    EXPECT_EQ(ids.Hide(ids.Reveal(id)), id);
  }
  EXPECT_EQ(ids.Hide(0), 0);
  EXPECT_EQ(ids.Reveal(0), 0);
}

TEST(LeaseIdsTest, NeighboursAreFarApart) {
  const LeaseIds ids("key");
  std::set<uint64_t> highs;
  std::set<uint64_t> lows;
  for (uint64_t id = 1; id <= 1000; ++id) {
    highs.insert(ids.Hide(id) >> 32);
    lows.insert(ids.Hide(id) & 0xffffffff);
  }
  EXPECT_GT(highs.size(), 990);
  EXPECT_GT(lows.size(), 990);
}

TEST(LeaseIdsTest, KeysDiffer) {
  EXPECT_NE(LeaseIds("a").Hide(1), LeaseIds("b").Hide(1));
  EXPECT_NE(LeaseIds().Hide(1), LeaseIds().Hide(1));
}

}  // namespace
}  // namespace percentdelta
