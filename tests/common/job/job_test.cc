// SPDX-License-Identifier: Apache-2.0

#include "common/job/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace percentdelta {
namespace {

using ::testing::ElementsAre;

TEST(TensorSpecTest, SizeIsTheProductOfTheShape) {
  struct Row {
    std::vector<int64_t> shape;
    int64_t size;
  };
  for (const Row& row :
       std::vector<Row>{{{}, 1},
                        {{7}, 7},
                        {{5, 5, 32, 64}, 51200},
                        {{1, 1}, 1},
                        {{int64_t{1} << 20, int64_t{1} << 20}, int64_t{1} << 40}}) {
    EXPECT_EQ((TensorSpec{"t", row.shape, {}}.size()), row.size);
  }
}

TEST(TensorSpecTest, LayerIsThePartBeforeTheLastSlash) {
  struct Row {
    std::string name;
    std::string layer;
  };
  for (const Row& row : std::vector<Row>{{"conv1/weights", "conv1"},
                                         {"block/conv1/w", "block/conv1"},
                                         {"bias", "bias"},
                                         {"a/", "a"},
                                         {"/a", ""}}) {
    EXPECT_EQ((TensorSpec{row.name, {}, {}}.layer()), row.layer);
  }
}

TEST(ModelSpecTest, FindsTensors) {
  ModelSpec model;
  model.tensors = {{"a", {2, 3}, {}}, {"b", {}, {}}};
  EXPECT_EQ(model.Find("a"), 0);
  EXPECT_EQ(model.Find("b"), 1);
  EXPECT_EQ(model.Find("c"), -1);
  EXPECT_EQ(model.Find(""), -1);
  EXPECT_EQ(model.size(), 7);
  EXPECT_EQ(ModelSpec().size(), 0);
}

TEST(ModelSpecTest, CountsTheTensorsThatAreTrained) {
  ModelSpec model;
  EXPECT_EQ(model.trained_tensors(), 0);
  model.tensors = {{"a", {2, 3}, {}}, {"b", {}, {}, true}, {"c", {}, {}}};
  EXPECT_EQ(model.trained_tensors(), 2);
  EXPECT_EQ(model.size(), 8);
}

TEST(JobTest, EvaluatesEveryFewStepsAndAtTheLast) {
  Job job;
  job.max_steps = 7;
  const auto steps = [&] {
    std::vector<int64_t> evaluated;
    for (int64_t step = 0; step <= job.max_steps; ++step) {
      if (job.EvaluatesAt(step)) evaluated.push_back(step);
    }
    return evaluated;
  };
  EXPECT_THAT(steps(), ElementsAre());
  job.evaluation = EvaluationSpec{3, 10};
  EXPECT_THAT(steps(), ElementsAre(0, 3, 6, 7));
  job.evaluation->every_steps = 100;
  EXPECT_THAT(steps(), ElementsAre(0, 7));
  job.max_steps = 6;
  job.evaluation->every_steps = 3;
  EXPECT_THAT(steps(), ElementsAre(0, 3, 6));
}

TEST(JobTest, BatchesFollowEachOther) {
  Job job;
  job.data.training_examples = 35;
  job.batch_size = 10;  // three complete batches per epoch; five examples are left out
  job.gradients_per_step = 2;
  EXPECT_EQ(job.batches_per_epoch(), 3);
  struct Row {
    int64_t step;
    int32_t slot;
    int64_t epoch;
    int64_t index;
  };
  for (const Row& row : std::vector<Row>{{0, 0, 0, 0},
                                         {0, 1, 0, 1},
                                         {1, 0, 0, 2},
                                         {1, 1, 1, 0},
                                         {2, 0, 1, 1},
                                         {2, 1, 1, 2},
                                         {3, 0, 2, 0},
                                         {3'000'000'000, 1, 2'000'000'000, 1}}) {
    const BatchId batch = BatchOf(job, row.step, row.slot);
    EXPECT_EQ(batch.epoch, row.epoch) << row.step << "." << row.slot;
    EXPECT_EQ(batch.batch_index, row.index) << row.step << "." << row.slot;
  }
}

}  // namespace
}  // namespace percentdelta
