// SPDX-License-Identifier: Apache-2.0

#include "worker/data/dataset.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "common/base/sha256.h"

namespace percentdelta {
namespace {

// Two images of 2 x 3 pixels.
Dataset SomeDataset() {
  return {.count = 2,
          .rows = 2,
          .columns = 3,
          .pixels = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
          .labels = {9, 0},
          .classes = 10};
}

std::string Number(int64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> 8 * i & 0xff);
  return bytes;
}

TEST(DataFingerprintTest, IsTheSha256ThatTheHeaderSpecifies) {
  const Dataset set = SomeDataset();
  const std::string text =
      Number(2) + Number(2) + Number(3) + Number(10) +
      std::string("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x09\x00", 14);
  EXPECT_EQ(DataFingerprint(set, nullptr), Sha256Hex(text));
  EXPECT_EQ(DataFingerprint(set, &set), Sha256Hex(text + text));
}

TEST(DataFingerprintTest, EveryPartOfTheDataCounts) {
  const std::vector<std::function<void(Dataset&)>> changes = {
      [](Dataset&) {},
      [](Dataset& set) { set.count = 3; },
      [](Dataset& set) { std::swap(set.rows, set.columns); },
      [](Dataset& set) { set.classes = 9; },
      [](Dataset& set) { set.pixels.front() = 0; },
      [](Dataset& set) { set.pixels.back() = 0; },
      [](Dataset& set) { set.labels.back() = 1; },
  };
  std::set<std::string> fingerprints = {DataFingerprint(SomeDataset(), nullptr)};
  for (const auto& change : changes) {
    Dataset changed = SomeDataset();
    change(changed);
    const Dataset other = SomeDataset();
    fingerprints.insert(DataFingerprint(other, &changed));
    fingerprints.insert(DataFingerprint(changed, &other));
  }
  // All differ, except those of the unchanged two.
  EXPECT_EQ(fingerprints.size(), 2 * changes.size());
}

TEST(DataFingerprintTest, CanBeCancelled) {
  EXPECT_EQ(DataFingerprint(SomeDataset(), nullptr, [] { return true; }), "");
  EXPECT_EQ(DataFingerprint(SomeDataset(), nullptr, [] { return false; }),
            DataFingerprint(SomeDataset(), nullptr));
}

TEST(WordAtTest, IsTheSameOfADatasetAndOfItsBatch) {
  Dataset set = {.count = 2,
                 .rows = 1,
                 .columns = 4,
                 .pixels = {0, 1, 255, 255, 3, 4, 0, 0},
                 .labels = {0, 1}};
  Batch batch;
  GatherBatch(set, std::vector<int64_t>{0, 1}, batch);
  const int32_t expected[2][2] = {{1, 65535}, {772, 0}};
  for (int example = 0; example < 2; ++example) {
    for (int index = 0; index < 2; ++index) {
      EXPECT_EQ(WordAt(set, example, index), expected[example][index]);
      EXPECT_EQ(WordAt(batch, example, index), expected[example][index]);
    }
  }
}

}  // namespace
}  // namespace percentdelta
