// SPDX-License-Identifier: Apache-2.0

#include "server/shard/delta_collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/random.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kSeed = 5;
constexpr int64_t kAny =
    std::numeric_limits<int64_t>::max();  // as current step: accepts every step

class DeltaCollectorTest : public testing::Test {
 protected:
  explicit DeltaCollectorTest(int64_t first_step = 0)
      : collector_(job_.model, partition_, partition_.home(kLarge), first_step) {}

  // A slice's sums: numbers whose sum depends on the order.
  DeltaSums Part(size_t index, int64_t step) const {
    const TensorRange& slice = partition_.ranges_of_tensor(kLarge)[index];
    DeltaSums sums = {kLarge, step, slice.first_block(), {}};
    for (int64_t block = 0; block < slice.blocks(); ++block) {
      RandomStream random(kSeed + step, slice.first_block() + block);
      sums.blocks.push_back(random.Uniform() * 1e10 * random.Uniform());
    }
    return sums;
  }

  double Expected(int64_t step) const {
    double sum = 0;
    for (size_t i = 0; i < parts_; ++i) {
      for (const double block : Part(i, step).blocks) sum += block;
    }
    return sum;
  }

  // Part 0 is the home's.
  void Open(int64_t step) {
    collector_.Open(Part(0, step), [this](double delta_l1) {
      absl::MutexLock lock(&mutex_);
      got_.push_back(delta_l1);
    });
  }

  void Contribute(size_t part, int64_t step) {
    const absl::Status status = collector_.Contribute(Part(part, step), kAny);
    EXPECT_OK(status);
  }

  void ContributeAll(int64_t step) {
    for (size_t part = 1; part < parts_; ++part) Contribute(part, step);
  }

  const testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("seed ", kSeed)};
  const Job job_ = SmallJob();
  const Partition partition_{job_.model, 5};
  const size_t parts_ = partition_.ranges_of_tensor(kLarge).size();
  DeltaCollector collector_;
  absl::Mutex mutex_;
  std::vector<double> got_;  // in the order of completion
};

TEST_F(DeltaCollectorTest, OrderOfArrivalDoesNotMatter) {
  ASSERT_GE(parts_, 3U);
  std::vector<size_t> order(parts_);
  for (size_t i = 0; i < parts_; ++i) order[i] = i;
  int64_t step = 0;
  do {
    got_.clear();
    for (const size_t part : order) {
      EXPECT_THAT(got_, IsEmpty());
      if (part == 0) {
        Open(step);
      } else {
        Contribute(part, step);
      }
    }
    EXPECT_THAT(got_, ElementsAre(Expected(step)));
    ++step;
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(DeltaCollectorTest, RepeatsChangeNothing) {
  Open(0);
  Contribute(1, 0);
  DeltaSums repeat = Part(1, 0);
  repeat.blocks[0] += 1;  // the first one counts
  EXPECT_OK(collector_.Contribute(repeat, kAny));
  ContributeAll(0);
  ContributeAll(0);  // when the step is done
  Open(1);
  ContributeAll(1);
  ContributeAll(0);
  EXPECT_THAT(got_, ElementsAre(Expected(0), Expected(1)));
}

// Nothing waits for the sums: a slice may be steps ahead of another's.
TEST_F(DeltaCollectorTest, StepsOvertakeEachOther) {
  Open(0);
  Open(1);
  Open(2);
  ContributeAll(1);
  EXPECT_THAT(got_, ElementsAre(Expected(1)));
  ContributeAll(2);
  ContributeAll(0);
  EXPECT_THAT(got_, ElementsAre(Expected(1), Expected(2), Expected(0)));
}

// A step whose sums never come is given up, so that it does not hold memory.
TEST_F(DeltaCollectorTest, GivesUpAStepThatIsFarBehind) {
  for (int64_t step = 0; step < 5000; ++step) Open(step);
  ContributeAll(0);
  EXPECT_THAT(got_, IsEmpty());
  ContributeAll(4999);
  EXPECT_THAT(got_, ElementsAre(Expected(4999)));
}

TEST_F(DeltaCollectorTest, BadSumsAreRefusedAndLeaveNoTrace) {
  const auto refusal = [&](const DeltaSums& sums, absl::StatusCode code, int64_t current = kAny) {
    const absl::Status status = collector_.Contribute(sums, current);
    EXPECT_EQ(status.code(), code);
    return std::string(status.message());
  };
  DeltaSums more = Part(1, 0);
  more.blocks.push_back(1);
  DeltaSums shifted = Part(1, 0);
  shifted.first_block = -1;
  for (const DeltaSums& sums : {more, shifted}) {
    EXPECT_THAT(refusal(sums, absl::StatusCode::kInvalidArgument),
                HasSubstr("a/weights: expected the block sums of a slice"));
  }
  DeltaSums negative = Part(1, 0);
  negative.blocks[0] = -1;
  EXPECT_THAT(refusal(negative, absl::StatusCode::kInvalidArgument),
              HasSubstr("a/weights: expected sums that are not negative"));
  EXPECT_THAT(refusal(Part(1, 3), absl::StatusCode::kFailedPrecondition, 2),
              HasSubstr("a/weights: expected step 2 or before, got 3"));
  DeltaSums elsewhere = {kScalar, 0, 0, {1}};
  EXPECT_THAT(refusal(elsewhere, absl::StatusCode::kFailedPrecondition),
              AllOf(HasSubstr("b/scalar: expected at its home"), HasSubstr("got at shard 0")));
  EXPECT_OK(collector_.Contribute(Part(1, 2), 2));
  EXPECT_OK(collector_.Contribute(Part(1, -7), 2));  // long past
  Open(0);
  ContributeAll(0);
  EXPECT_THAT(got_, ElementsAre(Expected(0)));
}

// Diverging training is reported by its loss, not refused here.
TEST_F(DeltaCollectorTest, SumsThatAreNotFiniteAreAdded) {
  Open(0);
  DeltaSums sums = Part(1, 0);
  sums.blocks[0] = std::numeric_limits<double>::infinity();
  EXPECT_OK(collector_.Contribute(sums, kAny));
  ContributeAll(0);
  EXPECT_THAT(got_, ElementsAre(std::numeric_limits<double>::infinity()));
}

TEST_F(DeltaCollectorTest, ManyThreads) {
  constexpr int64_t kSteps = 200;
  std::vector<std::thread> threads;
  for (size_t part = 0; part < parts_; ++part) {
    threads.emplace_back([&, part] {
      for (int64_t step = 0; step < kSteps; ++step) {
        if (part == 0) {
          Open(step);
        } else {
          Contribute(part, step);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_THAT(got_, SizeIs(kSteps));
  std::sort(got_.begin(), got_.end());
  std::vector<double> expected;
  for (int64_t step = 0; step < kSteps; ++step) expected.push_back(Expected(step));
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(got_, expected);
}

class DeltaCollectorOfALaterStepTest : public DeltaCollectorTest {
 protected:
  DeltaCollectorOfALaterStepTest() : DeltaCollectorTest(100) {}
};

TEST_F(DeltaCollectorOfALaterStepTest, BeginsThere) {
  Contribute(1, 99);
  Open(101);
  ContributeAll(101);
  Open(100);
  ContributeAll(100);
  EXPECT_THAT(got_, ElementsAre(Expected(101), Expected(100)));
}

}  // namespace
}  // namespace percentdelta
