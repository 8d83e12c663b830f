// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/work_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/server/coordinator/lease_table_fixture.h"

namespace percentdelta {
namespace {

bool Any(const WorkItem&) { return true; }

void Finish(WorkItem& item, double loss_sum) {
  item.done = true;
  item.result.loss_sum = loss_sum;
  item.result.examples = 4;
}

TEST(WorkListTest, FindsTheFirstOpenItemThatIsAccepted) {
  const Job job = TrainingJob();
  WorkList work(job, 0, false);
  const std::optional<WorkList::Open> first = work.FindOpen(Any);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(WorkName(first->lease), "slot 0 of step 0");
  EXPECT_EQ(first->item, work.Find(first->lease));
  EXPECT_EQ(first->item, work.FindSlot(0));
  const auto others = [&](const WorkItem& item) { return &item != first->item; };
  EXPECT_EQ(Describe(work.FindOpen(others)->lease), "train 0.1");
  Finish(*first->item, 4);
  EXPECT_EQ(Describe(work.FindOpen(Any)->lease), "train 0.1");
  EXPECT_EQ(work.FindSlot(-1), nullptr);
  EXPECT_EQ(work.FindSlot(2), nullptr);
}

TEST(WorkListTest, StepEndsWhenItIsDoneAndConfirmed) {
  const Job job = TrainingJob();
  WorkList work(job, 0, false);
  Finish(*work.FindSlot(0), 4);
  EXPECT_FALSE(work.Confirm(1).has_value());
  Finish(*work.FindSlot(1), 8);
  const std::optional<ProgressPoint> mean = work.EndStep();
  ASSERT_TRUE(mean.has_value());
  EXPECT_EQ(mean->step, 0);
  EXPECT_EQ(mean->loss, 1.5);
  EXPECT_EQ(work.step(), 1);
  EXPECT_FALSE(work.FindSlot(0)->done);
}

TEST(WorkListTest, FinishedWithTheLastStepAndEvaluation) {
  const Job job = EvaluatedJob();
  WorkList work(job, job.max_steps, false);
  EXPECT_FALSE(work.finished());
  std::optional<WorkList::Open> open = work.FindOpen(Any);
  ASSERT_TRUE(open.has_value());
  EXPECT_EQ(WorkName(open->lease), "the evaluation of step 3");
  EXPECT_FALSE(work.EndEvaluation(open->lease).has_value());
  const Lease lease = open->lease;
  for (; open; open = work.FindOpen(Any)) Finish(*open->item, 4);
  EXPECT_TRUE(work.EndEvaluation(lease).has_value());
  EXPECT_EQ(work.Find(lease), nullptr);
  EXPECT_TRUE(work.finished());
  EXPECT_FALSE(work.Confirm(job.max_steps + 1).has_value());
  EXPECT_TRUE(WorkList(job, job.max_steps, true).finished());
}

TEST(WorkListTest, DescribesWorkThatFailed) {
  const Job job = TrainingJob();
  WorkList work(job, 0, false);
  EXPECT_EQ(work.DescribeFailure(), "");
  work.FindSlot(1)->failures["w"] = {1, "cannot"};
  EXPECT_EQ(work.DescribeFailure(),
            "a slot of step 0 failed on worker w and waits for another worker: cannot");
  Finish(*work.FindSlot(1), 4);
  EXPECT_EQ(work.DescribeFailure(), "");
}

// The parts of an evaluation are added in their order, whatever came first.
TEST(WorkListTest, EvaluationIsTheSameInEveryOrder) {
  const Job job = EvaluatedJob();
  std::vector<ProgressPoint> means;
  for (const std::vector<size_t>& order :
       std::vector<std::vector<size_t>>{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}}) {
    WorkList work(job, 0, false);
    std::vector<Lease> leases;
    std::vector<WorkItem*> items;
    const auto is_new = [&](const WorkItem& item) {
      return std::find(items.begin(), items.end(), &item) == items.end();
    };
    for (int part = 0; part < 3; ++part) {
      const std::optional<WorkList::Open> open = work.FindOpen(is_new);
      ASSERT_TRUE(open.has_value());
      leases.push_back(open->lease);
      items.push_back(open->item);
    }
    const std::vector<double> sums = {3, 1e16, -1e16};  // whose sum depends on the order
    std::optional<ProgressPoint> mean;
    for (const size_t part : order) {
      EXPECT_FALSE(mean.has_value());
      Finish(*items[part], sums[part]);
      items[part]->result.metrics = {{"m", sums[part], 1}};
      mean = work.EndEvaluation(leases[part]);
    }
    ASSERT_TRUE(mean.has_value());
    means.push_back(*mean);
  }
  EXPECT_EQ(means[0].loss, 4.0 / 12);
  for (const ProgressPoint& mean : means) {
    EXPECT_EQ(mean.loss, means[0].loss);
    EXPECT_EQ(mean.metrics[0].value, means[0].metrics[0].value);
  }
}

}  // namespace
}  // namespace percentdelta
