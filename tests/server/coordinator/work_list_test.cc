// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/work_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

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

}  // namespace
}  // namespace percentdelta
