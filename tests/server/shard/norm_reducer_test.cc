// SPDX-License-Identifier: Apache-2.0

#include "server/shard/norm_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr uint64_t kSeed = 5;

using Answers = std::vector<absl::StatusOr<NormSums>>;

NormsCallback Into(Answers& answers) {
  return [&answers](absl::StatusOr<NormSums> norms) { answers.push_back(std::move(norms)); };
}

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

class NormReducerTest : public testing::Test {
 protected:
  NormReducerTest() : reducer_(job_.model, partition_, partition_.home(kLarge)) {}

  // A slice's sums: numbers whose sum depends on the order.
  BlockSums Part(size_t index, int64_t step) const {
    const TensorRange& slice = partition_.ranges_of_tensor(kLarge)[index];
    BlockSums sums = {kLarge, step, slice.first_block(), {}};
    for (int64_t block = 0; block < slice.blocks(); ++block) {
      RandomStream random(kSeed + step, slice.first_block() + block);
      const auto draw = [&] { return random.Uniform() * 1e10 * random.Uniform(); };
      sums.blocks.push_back({draw(), draw(), draw(), draw(), draw()});
    }
    return sums;
  }

  NormSums Expected(int64_t step) const {
    std::vector<NormSums> blocks;
    for (size_t i = 0; i < parts_; ++i) {
      const BlockSums sums = Part(i, step);
      blocks.insert(blocks.end(), sums.blocks.begin(), sums.blocks.end());
    }
    return AddBlocks(blocks);
  }

  void ExpectNorms(const absl::StatusOr<NormSums>& norms, int64_t step) const {
    ASSERT_OK(norms);
    const NormSums expected = Expected(step);
    EXPECT_EQ(Bits(norms->ratio_l1), Bits(expected.ratio_l1));
    EXPECT_EQ(Bits(norms->gradient_l1), Bits(expected.gradient_l1));
    EXPECT_EQ(Bits(norms->weight_l1), Bits(expected.weight_l1));
    EXPECT_EQ(Bits(norms->gradient_l2_squared), Bits(expected.gradient_l2_squared));
    EXPECT_EQ(Bits(norms->weight_l2_squared), Bits(expected.weight_l2_squared));
  }

  // Returns the one answer to `sums`, which comes at once.
  absl::StatusOr<NormSums> AnswerTo(const BlockSums& sums) {
    Answers answers;
    reducer_.Contribute(sums, Into(answers));
    EXPECT_THAT(answers, SizeIs(1));
    return answers.empty() ? absl::UnknownError("no answer") : answers[0];
  }

  void CompleteStep(int64_t step) {
    Answers answers;
    for (size_t i = 0; i < parts_; ++i) reducer_.Contribute(Part(i, step), Into(answers));
    ASSERT_THAT(answers, SizeIs(parts_));
  }

  const testing::ScopedTrace trace_{__FILE__, __LINE__, "seed 5"};
  const Job job_ = SmallJob();
  const Partition partition_{job_.model, 5};
  const size_t parts_ = partition_.ranges_of_tensor(kLarge).size();
  NormReducer reducer_;
};

TEST_F(NormReducerTest, OrderOfArrivalDoesNotMatter) {
  ASSERT_GE(parts_, 3U);
  std::vector<size_t> order(parts_);
  for (size_t i = 0; i < parts_; ++i) order[i] = i;
  int64_t step = 0;
  do {
    Answers answers;
    for (const size_t part : order) {
      EXPECT_THAT(answers, SizeIs(0));
      reducer_.Contribute(Part(part, step), Into(answers));
    }
    ASSERT_THAT(answers, SizeIs(parts_));
    for (const auto& answer : answers) ExpectNorms(answer, step);
    ++step;
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(NormReducerTest, RepeatsChangeNothingAndAreAnswered) {
  Answers answers;
  reducer_.Contribute(Part(0, 0), Into(answers));
  BlockSums repeat = Part(0, 0);
  repeat.blocks[0].ratio_l1 += 1;  // the first one counts
  reducer_.Contribute(repeat, Into(answers));
  EXPECT_THAT(answers, SizeIs(0));
  for (size_t i = 1; i < parts_; ++i) reducer_.Contribute(Part(i, 0), Into(answers));
  ASSERT_THAT(answers, SizeIs(parts_ + 1));
  for (const auto& answer : answers) ExpectNorms(answer, 0);
}

// A shard that lost its answer asks again.
TEST_F(NormReducerTest, StepBeforeIsAnsweredOnceMore) {
  CompleteStep(0);
  ExpectNorms(AnswerTo(Part(1, 0)), 0);
  Answers answers;
  reducer_.Contribute(Part(0, 1), Into(answers));
  ExpectNorms(AnswerTo(Part(0, 0)), 0);
  for (size_t i = 1; i < parts_; ++i) reducer_.Contribute(Part(i, 1), Into(answers));
  ASSERT_THAT(answers, SizeIs(parts_));
  ExpectNorms(answers[0], 1);
}

TEST_F(NormReducerTest, OtherStepsAreRefused) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  for (const int64_t current : {0, 1, 2}) {
    for (const int64_t step : {current - 2, current + 1, kMax, kMin, int64_t{-1}}) {
      BlockSums sums = Part(0, current);
      sums.step = step;
      const absl::Status status = AnswerTo(sums).status();
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition))
          << step << " at " << current;
      EXPECT_THAT(
          std::string(status.message()),
          AllOf(HasSubstr("a/weights: expected the norms of step " + std::to_string(current)),
                HasSubstr("got those of step " + std::to_string(step))));
    }
    CompleteStep(current);
  }
}

TEST_F(NormReducerTest, WrongHomeIsRefused) {
  NormReducer other(job_.model, partition_, partition_.home(kLarge) + 1);
  Answers answers;
  other.Contribute(Part(0, 0), Into(answers));
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_THAT(answers[0].status(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(answers[0].status().message()),
              HasSubstr("a/weights: expected at its home, shard 0, got at shard 1"));
}

TEST_F(NormReducerTest, WrongBlocksAreRefusedAndLeaveNoTrace) {
  BlockSums more = Part(0, 0);
  more.blocks.emplace_back();
  BlockSums none = Part(0, 0);
  none.blocks.clear();
  BlockSums shifted = Part(0, 0);
  shifted.first_block = 1000;
  BlockSums before = Part(0, 0);
  before.first_block = -1;
  for (const BlockSums& sums : {more, none, shifted, before}) {
    const absl::Status status = AnswerTo(sums).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("a/weights: expected the block sums of a slice"),
                      HasSubstr(absl::StrCat("got ", sums.blocks.size(), " blocks from block ",
                                             sums.first_block))));
  }
  CompleteStep(0);
}

TEST_F(NormReducerTest, SumsThatAreNoneAreRefusedAndLeaveNoTrace) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double bad : {-1.0, -kInfinity}) {
    for (double NormSums::*field :
         {&NormSums::ratio_l1, &NormSums::gradient_l1, &NormSums::weight_l1,
          &NormSums::gradient_l2_squared, &NormSums::weight_l2_squared}) {
      BlockSums sums = Part(0, 0);
      sums.blocks.back().*field = bad;
      const absl::Status status = AnswerTo(sums).status();
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
      EXPECT_THAT(std::string(status.message()), HasSubstr("a/weights: expected sums"));
    }
  }
  CompleteStep(0);
}

// Diverging training must not stop at a norm: its loss is the clearer error.
TEST_F(NormReducerTest, SumsThatAreNotFiniteAreAdded) {
  for (const double diverged :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    NormReducer reducer(job_.model, partition_, partition_.home(kLarge));
    Answers answers;
    for (size_t i = 0; i < parts_; ++i) {
      BlockSums sums = Part(i, 0);
      sums.blocks.front().weight_l1 = diverged;
      reducer.Contribute(sums, Into(answers));
    }
    ASSERT_THAT(answers, SizeIs(parts_));
    ASSERT_OK(answers[0]);
    EXPECT_FALSE(std::isfinite(answers[0]->weight_l1));
  }
}

TEST_F(NormReducerTest, CloseAnswersAll) {
  Answers answers;
  reducer_.Contribute(Part(0, 0), Into(answers));
  reducer_.Contribute(Part(1, 0), Into(answers));
  reducer_.Close(absl::AbortedError("over"));
  ASSERT_THAT(answers, SizeIs(2));
  EXPECT_EQ(answers[0].status(), absl::AbortedError("over"));
  EXPECT_EQ(answers[1].status(), absl::AbortedError("over"));
  EXPECT_EQ(AnswerTo(Part(2, 0)).status(), absl::AbortedError("over"));
}

TEST_F(NormReducerTest, ManyThreads) {
  for (int64_t step = 0; step < 50; ++step) {
    std::vector<Answers> answers(parts_);
    std::vector<std::thread> threads;
    for (size_t part = 0; part < parts_; ++part) {
      threads.emplace_back(
          [&, part] { reducer_.Contribute(Part(part, step), Into(answers[part])); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Answers& answer : answers) {
      ASSERT_THAT(answer, SizeIs(1));
      ExpectNorms(answer[0], step);
    }
  }
}

// Norms of deltas are reduced alike: in block order, whatever the order of arrival.
TEST_F(NormReducerTest, DeltaNormsAreReducedAlike) {
  DeltaNormReducer reducer(job_.model, partition_, partition_.home(kLarge), 7);
  const auto part = [&](size_t index, int64_t step) {
    ProposedSums sums = {kLarge, step, Part(index, step).first_block, {}};
    for (const NormSums& block : Part(index, step).blocks) {
      sums.blocks.push_back({block.gradient_l1, block.gradient_l2_squared});
    }
    return sums;
  };
  std::vector<absl::StatusOr<DeltaNorms>> answers;
  const auto contribute = [&](const ProposedSums& sums) {
    reducer.Contribute(sums, [&](const auto& norms) { answers.push_back(norms); });
  };
  for (size_t i = parts_; i-- > 0;) {
    EXPECT_THAT(answers, SizeIs(0));
    contribute(part(i, 7));
  }
  contribute(part(1, 7));  // once more, after the step
  ASSERT_THAT(answers, SizeIs(parts_ + 1));
  for (const auto& answer : answers) {
    ASSERT_OK(answer);
    EXPECT_EQ(Bits(answer->l1), Bits(Expected(7).gradient_l1));
    EXPECT_EQ(Bits(answer->l2_squared), Bits(Expected(7).gradient_l2_squared));
  }
  contribute(part(0, 9));
  EXPECT_THAT(answers.back(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("a/weights: expected the norms of step 8, got those of step 9")));
  for (double DeltaNorms::*field : {&DeltaNorms::l1, &DeltaNorms::l2_squared}) {
    ProposedSums negative = part(0, 8);
    negative.blocks[0].*field = -1;
    contribute(negative);
    EXPECT_THAT(answers.back(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("a/weights: expected sums that are not negative, got -1")));
  }
}

}  // namespace
}  // namespace percentdelta
