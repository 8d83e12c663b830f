#include "server/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::Duration kNow = absl::Hours(1);

ShardBeat BeatOf(int32_t shard, uint64_t incarnation, uint64_t generation = 0) {
  return {shard, 2, "hash", absl::StrCat("host", shard, ":", incarnation), incarnation, generation};
}

class MembershipTest : public testing::Test {
 protected:
  // Whether the beat opened a generation.
  bool Beat(const ShardBeat& beat, absl::Duration now = kNow) {
    const absl::StatusOr<bool> opened = membership_.Beat(beat, now);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.value_or(false)) membership_.Open(0);
    return opened.value_or(false);
  }

  Membership membership_{2, "hash", 7};
};

TEST_F(MembershipTest, OpensItsFirstGenerationWhenAllAreThere) {
  EXPECT_EQ(membership_.generation(), 0U);
  EXPECT_THAT(membership_.missing(), ElementsAre(0, 1));
  EXPECT_FALSE(Beat(BeatOf(1, 11)));
  EXPECT_FALSE(Beat(BeatOf(1, 11)));
  EXPECT_EQ(membership_.generation(), 0U);
  EXPECT_THAT(membership_.missing(), ElementsAre(0));
  EXPECT_THAT(membership_.addresses(), IsEmpty());
  EXPECT_TRUE(Beat(BeatOf(0, 10)));
  EXPECT_EQ(membership_.generation(), 7U);
  EXPECT_THAT(membership_.missing(), IsEmpty());
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:10", "host1:11"));
}

TEST_F(MembershipTest, FurtherBeatsOpenNothing) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  EXPECT_FALSE(Beat(BeatOf(0, 10)));
  EXPECT_FALSE(Beat(BeatOf(1, 11, 7)));
  EXPECT_EQ(membership_.generation(), 7U);
}

TEST_F(MembershipTest, IsEnteredWhenAllHaveSaidSo) {
  EXPECT_FALSE(membership_.entered());
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  EXPECT_FALSE(membership_.entered());
  Beat(BeatOf(0, 10, 7));
  EXPECT_FALSE(membership_.entered());
  Beat(BeatOf(1, 11, 6));
  EXPECT_FALSE(membership_.entered());
  Beat(BeatOf(1, 11, 7));
  EXPECT_TRUE(membership_.entered());
}

TEST_F(MembershipTest, ANewProcessOpensAGeneration) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  Beat(BeatOf(0, 10, 7));
  Beat(BeatOf(1, 11, 7));
  EXPECT_TRUE(Beat(BeatOf(1, 12)));
  EXPECT_EQ(membership_.generation(), 8U);
  EXPECT_FALSE(membership_.entered());
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:10", "host1:12"));
}

TEST_F(MembershipTest, AMovedProcessOpensAGeneration) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  ShardBeat moved = BeatOf(1, 11);
  moved.address = "elsewhere";
  EXPECT_TRUE(Beat(moved));
  EXPECT_EQ(membership_.generation(), 8U);
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:10", "elsewhere"));
  EXPECT_FALSE(Beat(moved));
}

TEST_F(MembershipTest, AReplacedProcessIsSentAway) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  Beat(BeatOf(1, 12));
  const absl::Status status = membership_.Beat(BeatOf(1, 11), kNow).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr("shard 1"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("host1:12"));
  EXPECT_EQ(membership_.generation(), 8U);
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:10", "host1:12"));
  // Of any age; and the same number is another process on another shard.
  Beat(BeatOf(1, 13));
  EXPECT_FALSE(membership_.Beat(BeatOf(1, 11), kNow).ok());
  EXPECT_FALSE(membership_.Beat(BeatOf(1, 12), kNow).ok());
  EXPECT_TRUE(Beat(BeatOf(0, 11)));
}

TEST_F(MembershipTest, AProcessReplacedBeforeAllAreThereIsSentAwayToo) {
  Beat(BeatOf(0, 10));
  EXPECT_FALSE(Beat(BeatOf(0, 20)));
  EXPECT_FALSE(membership_.Beat(BeatOf(0, 10), kNow).ok());
  EXPECT_TRUE(Beat(BeatOf(1, 11)));
  EXPECT_EQ(membership_.generation(), 7U);
}

TEST_F(MembershipTest, StrangersAreRefusedAndLeaveNoTrace) {
  struct Row {
    std::string name;
    ShardBeat beat;
    std::string says;
  };
  std::vector<Row> rows = {
      {"fewer shards", BeatOf(0, 99), "expected 2 shards as the coordinator has, got 1"},
      {"more shards", BeatOf(0, 99), "expected 2 shards as the coordinator has, got 3"},
      {"another job", BeatOf(0, 99), "expected the coordinator's job hash, got job other"},
      {"negative index", BeatOf(-1, 99), "expected an index in 0..1, got -1"},
      {"large index", BeatOf(2, 99), "expected an index in 0..1, got 2"},
      {"no incarnation", BeatOf(0, 0), "expected an incarnation other than 0, got 0"},
  };
  rows[0].beat.shard_count = 1;
  rows[1].beat.shard_count = 3;
  rows[2].beat.job_hash = "other";
  Beat(BeatOf(0, 10));
  for (const bool all_there : {false, true}) {
    if (all_there) Beat(BeatOf(1, 11));
    const uint64_t generation = membership_.generation();
    for (const Row& row : rows) {
      const absl::Status status = membership_.Beat(row.beat, kNow).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << row.name;
      EXPECT_THAT(std::string(status.message()), HasSubstr(row.says)) << row.name;
      EXPECT_THAT(std::string(status.message()), HasSubstr(row.beat.address)) << row.name;
    }
    EXPECT_EQ(membership_.generation(), generation);
    EXPECT_FALSE(Beat(BeatOf(0, 10)));  // still in its place
  }
}

TEST_F(MembershipTest, FindsTheShardThatHasBeenSilentLongest) {
  constexpr absl::Duration kLimit = absl::Seconds(5);
  EXPECT_FALSE(membership_.FindSilent(kNow, kLimit).has_value());  // nobody was there yet
  Beat(BeatOf(0, 10), kNow);
  Beat(BeatOf(1, 11), kNow + absl::Seconds(2));
  EXPECT_FALSE(membership_.FindSilent(kNow + absl::Seconds(5), kLimit).has_value());
  auto silent = membership_.FindSilent(kNow + absl::Seconds(8), kLimit);
  ASSERT_TRUE(silent.has_value());
  EXPECT_EQ(silent->shard, 0);
  EXPECT_EQ(silent->address, "host0:10");
  EXPECT_EQ(silent->since, absl::Seconds(8));
  Beat(BeatOf(0, 10), kNow + absl::Seconds(8));
  silent = membership_.FindSilent(kNow + absl::Seconds(9), kLimit);
  ASSERT_TRUE(silent.has_value());
  EXPECT_EQ(silent->shard, 1);
  EXPECT_EQ(silent->since, absl::Seconds(7));
}

}  // namespace
}  // namespace percentdelta
