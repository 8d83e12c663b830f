// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr absl::Duration kNow = absl::Hours(1);

ShardBeat BeatOf(int32_t shard, uint64_t incarnation, uint64_t generation = 0) {
  return {shard,       2,         "hash", absl::StrCat("host", shard, ":", 100 + incarnation),
          incarnation, generation};
}

class MembershipTest : public testing::Test {
 protected:
  // Sends a heartbeat; a new process answers when it is called back. Returns whether a generation
  // opened.
  bool Beat(const ShardBeat& beat, absl::Duration now = kNow) {
    absl::StatusOr<bool> opened = membership_.Beat(beat, now);
    EXPECT_OK(opened);
    if (const auto newcomer = membership_.newcomer(beat.shard)) {
      opened = membership_.Admit(*newcomer);
    }
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
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:110", "host1:111"));
}

TEST_F(MembershipTest, FurtherBeatsOpenNothing) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  EXPECT_FALSE(Beat(BeatOf(0, 10)));
  EXPECT_FALSE(Beat(BeatOf(1, 11, 7)));
  EXPECT_EQ(membership_.generation(), 7U);
}

TEST_F(MembershipTest, IsEnteredWhenAllHaveReportedIt) {
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
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:110", "host1:112"));
}

TEST_F(MembershipTest, AMovedProcessOpensAGeneration) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  ShardBeat moved = BeatOf(1, 11);
  moved.address = "elsewhere:1";
  EXPECT_TRUE(Beat(moved));
  EXPECT_EQ(membership_.generation(), 8U);
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:110", "elsewhere:1"));
  EXPECT_FALSE(Beat(moved));
}

TEST_F(MembershipTest, ReplacedProcessIsRefused) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  Beat(BeatOf(1, 12));
  EXPECT_THAT(membership_.Beat(BeatOf(1, 11), kNow),
              StatusIs(absl::StatusCode::kAlreadyExists,
                       AllOf(HasSubstr("shard 1"), HasSubstr("host1:112"))));
  EXPECT_EQ(membership_.generation(), 8U);
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:110", "host1:112"));
  // Also earlier ones; the same incarnation on another shard is another process.
  Beat(BeatOf(1, 13));
  EXPECT_THAT(membership_.Beat(BeatOf(1, 11), kNow), Not(IsOk()));
  EXPECT_THAT(membership_.Beat(BeatOf(1, 12), kNow), Not(IsOk()));
  EXPECT_TRUE(Beat(BeatOf(0, 11)));
}

TEST_F(MembershipTest, ProcessReplacedBeforeAllAreThereIsRefusedToo) {
  Beat(BeatOf(0, 10));
  EXPECT_FALSE(Beat(BeatOf(0, 20)));
  EXPECT_THAT(membership_.Beat(BeatOf(0, 10), kNow), Not(IsOk()));
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
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(row.says)))
          << row.name;
      EXPECT_THAT(std::string(status.message()), HasSubstr(row.beat.address)) << row.name;
    }
    EXPECT_EQ(membership_.generation(), generation);
    EXPECT_FALSE(Beat(BeatOf(0, 10)));  // still the member
  }
}

TEST_F(MembershipTest, AddressesThatCannotBeConnectedToAreRefused) {
  for (const std::string address : {"", "*:5000", "0:5000", "0.0.0.0:5000", "[::]:5000", "host",
                                    "host:0", "unix:/tmp/socket", "xds:///a", "fd:3", "a\nb:1"}) {
    ShardBeat beat = BeatOf(0, 10);
    beat.address = address;
    const absl::Status status = membership_.Beat(beat, kNow).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, Not(HasSubstr("\n"))))
        << address;
    EXPECT_FALSE(membership_.newcomer(0).has_value()) << address;
  }
}

// The previous process stays the member until the newcomer has answered at its address.
TEST_F(MembershipTest, NewcomerDoesNotReplaceTheMemberBeforeItAnswers) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  EXPECT_FALSE(*membership_.Beat(BeatOf(1, 12), kNow));
  const std::optional<Newcomer> newcomer = membership_.newcomer(1);
  ASSERT_TRUE(newcomer.has_value());
  EXPECT_FALSE(membership_.IsMember(BeatOf(1, 12)));
  EXPECT_TRUE(membership_.IsMember(BeatOf(1, 11)));
  EXPECT_TRUE(membership_.Reject(*newcomer, "no answer"));
  EXPECT_FALSE(membership_.Reject(*newcomer, "no answer"));  // not new
  EXPECT_EQ(membership_.rejections(), "no answer");
  EXPECT_FALSE(*membership_.Beat(BeatOf(1, 11), kNow));
  EXPECT_FALSE(*membership_.Beat(BeatOf(1, 12), kNow));
  EXPECT_EQ(membership_.generation(), 7U);
  EXPECT_TRUE(membership_.Admit(*newcomer));
  EXPECT_EQ(membership_.rejections(), "");
  EXPECT_THAT(membership_.Beat(BeatOf(1, 11), kNow), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST_F(MembershipTest, AnswerOfAnEarlierNewcomerHasNoEffect) {
  EXPECT_FALSE(*membership_.Beat(BeatOf(1, 11), kNow));
  const std::optional<Newcomer> earlier = membership_.newcomer(1);
  EXPECT_FALSE(*membership_.Beat(BeatOf(1, 12), kNow));
  membership_.Admit(*earlier);
  EXPECT_FALSE(membership_.Reject(*earlier, "no answer"));
  EXPECT_THAT(membership_.missing(), ElementsAre(0, 1));
  EXPECT_EQ(membership_.rejections(), "");
}

TEST_F(MembershipTest, AddressOfAnotherLiveShardIsRefused) {
  Beat(BeatOf(0, 10));
  ShardBeat same = BeatOf(1, 11);
  same.address = BeatOf(0, 10).address;
  EXPECT_OK(membership_.Beat(same, kNow));
  EXPECT_OK(membership_.Beat(same, kNow + absl::Seconds(1)));  // the other may be dead
  Beat(BeatOf(0, 10), kNow + absl::Seconds(1));
  const absl::Status status = membership_.Beat(same, kNow + absl::Seconds(1)).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               AllOf(HasSubstr("shard 1"), HasSubstr("shard 0"),
                                     HasSubstr("--advertise"))));
  EXPECT_TRUE(Beat(BeatOf(1, 12)));  // another process, with an address of its own
}

TEST_F(MembershipTest, AddressOfADeadShardIsReused) {
  Beat(BeatOf(0, 10));
  Beat(BeatOf(1, 11));
  ShardBeat taken = BeatOf(1, 12);
  taken.address = BeatOf(0, 10).address;
  EXPECT_FALSE(Beat(taken));  // it answers there, so shard 0 is gone
  EXPECT_THAT(membership_.missing(), ElementsAre(0));
  EXPECT_TRUE(Beat(BeatOf(0, 20)));
  EXPECT_THAT(membership_.addresses(), ElementsAre("host0:120", "host0:110"));
}

TEST_F(MembershipTest, FindsTheShardThatHasBeenSilentLongest) {
  constexpr absl::Duration kLimit = absl::Seconds(5);
  EXPECT_FALSE(membership_.FindSilent(kNow, kLimit).has_value());  // no shard has come yet
  Beat(BeatOf(0, 10), kNow);
  Beat(BeatOf(1, 11), kNow + absl::Seconds(2));
  EXPECT_FALSE(membership_.FindSilent(kNow + absl::Seconds(5), kLimit).has_value());
  auto silent = membership_.FindSilent(kNow + absl::Seconds(8), kLimit);
  ASSERT_TRUE(silent.has_value());
  EXPECT_EQ(silent->shard, 0);
  EXPECT_EQ(silent->address, "host0:110");
  EXPECT_EQ(silent->duration, absl::Seconds(8));
  Beat(BeatOf(0, 10), kNow + absl::Seconds(8));
  silent = membership_.FindSilent(kNow + absl::Seconds(9), kLimit);
  ASSERT_TRUE(silent.has_value());
  EXPECT_EQ(silent->shard, 1);
  EXPECT_EQ(silent->duration, absl::Seconds(7));
}

}  // namespace
}  // namespace percentdelta
