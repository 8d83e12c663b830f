// SPDX-License-Identifier: Apache-2.0

#include "server/update/norms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/base/random.h"
#include "common/job/partition.h"

namespace percentdelta {
namespace {

constexpr uint64_t kSeed = 42;

bool SameBits(const NormSums& a, const NormSums& b) {
  const auto same = [](double x, double y) {
    return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y);
  };
  return same(a.ratio_l1, b.ratio_l1) && same(a.gradient_l1, b.gradient_l1) &&
         same(a.weight_l1, b.weight_l1) && same(a.gradient_l2_squared, b.gradient_l2_squared) &&
         same(a.weight_l2_squared, b.weight_l2_squared);
}

// The sums' definitions, one entry after the other.
NormSums NaiveNorms(absl::Span<const float> g, absl::Span<const float> w, double epsilon) {
  NormSums sums;
  for (size_t i = 0; i < g.size(); ++i) {
    const double sign = w[i] < 0 ? -1 : 1;
    sums.ratio_l1 += std::fabs(g[i] / (w[i] + epsilon * sign));
    sums.gradient_l1 += std::fabs(g[i]);
    sums.weight_l1 += std::fabs(w[i]);
    sums.gradient_l2_squared += static_cast<double>(g[i]) * g[i];
    sums.weight_l2_squared += static_cast<double>(w[i]) * w[i];
  }
  return sums;
}

void ExpectNear(const NormSums& expected, const NormSums& got) {
  const auto near = [](double e, double g) { EXPECT_NEAR(e, g, 1e-12 * std::fabs(e)); };
  near(expected.ratio_l1, got.ratio_l1);
  near(expected.gradient_l1, got.gradient_l1);
  near(expected.weight_l1, got.weight_l1);
  near(expected.gradient_l2_squared, got.gradient_l2_squared);
  near(expected.weight_l2_squared, got.weight_l2_squared);
}

// Uniform in [-1, 1), some entries zero of either sign.
std::vector<float> Random(int64_t entries, uint64_t stream) {
  RandomStream random(kSeed, stream);
  std::vector<float> values(entries);
  for (float& value : values) value = static_cast<float>(2 * random.Uniform() - 1);
  for (size_t i = 3; i < values.size(); i += 11) values[i] = i % 2 == 0 ? 0.0F : -0.0F;
  return values;
}

// Every length of tail, and lengths around a block.
TEST(NormsTest, AgreesWithTheDefinition) {
  std::vector<int64_t> lengths = {100, 1000, kBlockEntries - 1, kBlockEntries};
  for (int64_t length = 0; length <= 33; ++length) lengths.push_back(length);
  for (const int64_t length : lengths) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " length " << length);
    const std::vector<float> g = Random(length, 1);
    const std::vector<float> w = Random(length, 2);
    for (const double epsilon : {1e-8, 1e-3, 0.5}) {
      ExpectNear(NaiveNorms(g, w, epsilon), BlockNorms(g, w, epsilon));
    }
  }
}

TEST(NormsTest, NothingHasNoNorms) {
  EXPECT_TRUE(SameBits(BlockNorms({}, {}, 1e-6), NormSums()));
  EXPECT_TRUE(SameBits(AddBlocks({}), NormSums()));
}

// Footnote 2 pushes weights away from zero: negative ones down, and zeros of either sign by a
// positive epsilon. With a sign of -1 for zero the ratio would be the same, with 0 infinite.
TEST(NormsTest, EpsilonHasTheSignOfTheWeight) {
  EXPECT_EQ(BlockNorms({{5.0F, 5.0F}}, {{1.0F, -1.0F}}, 0.25).ratio_l1, 8);
  EXPECT_EQ(BlockNorms({{6.0F, -2.0F}}, {{0.0F, -0.0F}}, 0.5).ratio_l1, 16);
  EXPECT_EQ(BlockNorms({{0.0F, -0.0F}}, {{0.0F, -0.0F}}, 1e-30).ratio_l1, 0);
}

// g_i = (7i mod 11 - 5) / 3 and w_i = (5i mod 13 - 6) / 7 in float. The numbers come from an
// independent program: eight lanes, ((0+4) + (2+6)) + ((1+5) + (3+7)).
TEST(NormsTest, LanesAreAddedInTheirOrder) {
  std::vector<float> g;
  std::vector<float> w;
  for (int i = 0; i < 365; ++i) {
    g.push_back(static_cast<float>(7 * i % 11 - 5) / 3.0F);
    w.push_back(static_cast<float>(5 * i % 13 - 6) / 7.0F);
  }
  const NormSums golden = {0x1.a9295ba1a234cp+14, 0x1.4c55557600000p+8, 0x1.51b6dbfa00000p+7,
                           0x1.968e38e91c71ep+8, 0x1.a2f054c87d636p+6};
  const NormSums sums = BlockNorms(g, w, 1e-3);
  EXPECT_TRUE(SameBits(sums, golden));
  // The case tells orders apart.
  EXPECT_NE(sums.ratio_l1, NaiveNorms(g, w, 1e-3).ratio_l1);
}

TEST(NormsTest, SumsDoNotOverflowOrVanishInFloatsRange) {
  const std::vector<float> large(8, 3e38F);
  const std::vector<float> small(8, 1e-40F);
  const NormSums sums = BlockNorms(large, small, 1e-8);
  EXPECT_TRUE(std::isfinite(sums.ratio_l1));
  EXPECT_TRUE(std::isfinite(sums.gradient_l2_squared));
  EXPECT_GT(sums.weight_l2_squared, 0);
}

// However a tensor is cut on block borders, its block sums are the same, and so is their sum.
TEST(NormsTest, DoesNotDependOnTheCut) {
  constexpr int64_t kEntries = 5 * kBlockEntries + 77;
  const std::vector<float> g = Random(kEntries, 3);
  const std::vector<float> w = Random(kEntries, 4);
  NormSums whole;
  for (const int64_t slice : {BlockCount(kEntries), int64_t{1}, int64_t{2}, int64_t{3}}) {
    std::vector<NormSums> blocks;
    for (int64_t begin = 0; begin < kEntries; begin += slice * kBlockEntries) {
      // Copies, as on a shard: nothing may depend on alignment either.
      const int64_t end = std::min(kEntries, begin + slice * kBlockEntries);
      std::vector<float> slice_g(g.begin() + begin, g.begin() + end);
      std::vector<float> slice_w(w.begin() + begin, w.begin() + end);
      for (size_t block = 0; block < slice_g.size(); block += kBlockEntries) {
        blocks.push_back(BlockNorms(absl::MakeConstSpan(slice_g).subspan(block, kBlockEntries),
                                    absl::MakeConstSpan(slice_w).subspan(block, kBlockEntries),
                                    1e-6));
      }
    }
    const NormSums sums = AddBlocks(blocks);
    ExpectNear(NaiveNorms(g, w, 1e-6), sums);
    if (whole.weight_l1 == 0) whole = sums;
    EXPECT_TRUE(SameBits(whole, sums)) << "slices of " << slice << " blocks";
  }
}

// Whatever the pieces, of whole lanes.
TEST(MagnitudeSumTest, DoesNotDependOnThePieces) {
  const std::vector<float> floats = Random(3 * 1024 + 13, 5);
  const std::vector<double> values(floats.begin(), floats.end());
  MagnitudeSum whole;
  whole.Add(values);
  double expected = 0;
  for (const double value : values) expected += std::fabs(value);
  EXPECT_NEAR(whole.Total(), expected, 1e-12 * expected);
  for (const size_t piece : {8, 1024, 3072}) {
    MagnitudeSum sum;
    for (size_t begin = 0; begin < values.size(); begin += piece) {
      sum.Add(absl::MakeConstSpan(values).subspan(begin, piece));
    }
    EXPECT_EQ(std::bit_cast<uint64_t>(sum.Total()), std::bit_cast<uint64_t>(whole.Total()))
        << piece;
  }
  EXPECT_EQ(MagnitudeSum().Total(), 0);
}

TEST(DeltaNormSumTest, DoesNotDependOnThePieces) {
  const std::vector<float> floats = Random(3 * 1024 + 13, 6);
  const std::vector<double> values(floats.begin(), floats.end());
  DeltaNormSum sum;
  sum.Add(values);
  const DeltaNorms whole = sum.Total();
  DeltaNorms expected;
  for (const double value : values) expected += {std::fabs(value), value * value};
  EXPECT_NEAR(whole.l1, expected.l1, 1e-12 * expected.l1);
  EXPECT_NEAR(whole.l2_squared, expected.l2_squared, 1e-12 * expected.l2_squared);
  for (const size_t piece : {8, 1024, 3072}) {
    DeltaNormSum pieces;
    for (size_t begin = 0; begin < values.size(); begin += piece) {
      pieces.Add(absl::MakeConstSpan(values).subspan(begin, piece));
    }
    EXPECT_EQ(std::bit_cast<uint64_t>(pieces.Total().l1), std::bit_cast<uint64_t>(whole.l1));
    EXPECT_EQ(std::bit_cast<uint64_t>(pieces.Total().l2_squared),
              std::bit_cast<uint64_t>(whole.l2_squared));
  }
}

}  // namespace
}  // namespace percentdelta
