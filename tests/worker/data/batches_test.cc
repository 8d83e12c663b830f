// SPDX-License-Identifier: Apache-2.0

#include "worker/data/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "worker/data/dataset.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

// The golden values were computed by an independent program from the specification in batches.h.

TEST(EpochOrderTest, HasItsGoldenValues) {
  EXPECT_THAT(EpochOrder(1, 0, 10), ElementsAre(5, 3, 6, 7, 8, 1, 0, 9, 2, 4));
  EXPECT_THAT(EpochOrder(1, 1, 10), ElementsAre(1, 0, 3, 6, 2, 4, 7, 9, 5, 8));
  EXPECT_THAT(EpochOrder(2, 0, 10), ElementsAre(8, 4, 3, 7, 6, 2, 9, 5, 1, 0));
}

TEST(EpochOrderTest, HasItsGoldenValuesForMnist) {
  std::vector<int64_t> order = EpochOrder(1, 0, 60000);
  EXPECT_THAT(std::vector<int64_t>(order.begin(), order.begin() + 6),
              ElementsAre(38531, 2915, 34580, 35253, 1297, 51579));
}

TEST(EpochOrderTest, IsAPermutation) {
  for (const int64_t examples : {1, 2, 3, 1000}) {
    std::vector<int64_t> order = EpochOrder(3, 4, examples);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < examples; ++i) ASSERT_EQ(order[i], i);
  }
  EXPECT_THAT(EpochOrder(3, 4, 0), IsEmpty());
}

TEST(BatchSourceTest, CutsTheOrderIntoBatches) {
  BatchSource source(1, 10);
  EXPECT_THAT(source.Examples(0, 0, 4), ElementsAre(5, 3, 6, 7));
  EXPECT_THAT(source.Examples(0, 1, 4), ElementsAre(8, 1, 0, 9));
  EXPECT_THAT(source.Examples(0, 0, 10), ElementsAreArray(EpochOrder(1, 0, 10)));
}

TEST(BatchSourceTest, DoesNotDependOnEarlierCalls) {
  BatchSource source(1, 10);
  source.Examples(7, 0, 3);
  EXPECT_THAT(source.Examples(1, 0, 3), ElementsAre(1, 0, 3));
  EXPECT_THAT(source.Examples(0, 0, 3), ElementsAre(5, 3, 6));
  EXPECT_THAT(source.Examples(1, 1, 3), ElementsAre(6, 2, 4));
}

TEST(BatchSourceTest, EndsWithTheEpoch) {
  BatchSource source(1, 10);
  EXPECT_THAT(source.Examples(0, 2, 4), ElementsAre(2, 4));
  EXPECT_THAT(source.Examples(0, 3, 4), IsEmpty());
  EXPECT_THAT(source.Examples(0, 2, 5), IsEmpty());
  EXPECT_THAT(source.Examples(0, std::numeric_limits<int64_t>::max(), 4), IsEmpty());
}

TEST(GatherBatchTest, CopiesTheExamplesInTheirOrder) {
  const Dataset dataset = {.count = 3,
                           .rows = 1,
                           .columns = 2,
                           .pixels = {0, 255, 51, 102, 1, 2},
                           .labels = {7, 8, 9},
                           .classes = 10};
  Batch batch;
  GatherBatch(dataset, {1, 0, 1}, batch);
  EXPECT_EQ(batch.count, 3);
  EXPECT_EQ(batch.rows, 1);
  EXPECT_EQ(batch.columns, 2);
  EXPECT_THAT(batch.pixels, ElementsAre(0.2F, 0.4F, 0.0F, 1.0F, 0.2F, 0.4F));
  EXPECT_THAT(batch.labels, ElementsAre(8, 7, 8));

  GatherBatch(dataset, {2}, batch);
  EXPECT_EQ(batch.count, 1);
  EXPECT_THAT(batch.pixels, ElementsAre(1 / 255.0F, 2 / 255.0F));
  EXPECT_THAT(batch.labels, ElementsAre(9));
}

// Bytes that are codes are restored from the floats.
TEST(GatherBatchTest, WordsAreTheBytesThatWereGathered) {
  Dataset dataset = {
      .count = 256, .rows = 1, .columns = 4, .pixels = {}, .labels = std::vector<uint8_t>(256)};
  std::vector<int64_t> examples;
  for (int i = 0; i < 256; ++i) {
    const auto byte = static_cast<uint8_t>(i);
    dataset.pixels.insert(dataset.pixels.end(), {byte, 7, 255, byte});
    examples.push_back(255 - i);
  }
  Batch batch;
  GatherBatch(dataset, examples, batch);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(WordAt(batch, i, 0), (255 - i) * 256 + 7);
    EXPECT_EQ(WordAt(batch, i, 1), 255 * 256 + 255 - i);
  }
}

}  // namespace
}  // namespace percentdelta
