// SPDX-License-Identifier: Apache-2.0

#include "common/base/float_bytes.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace percentdelta {
namespace {

using Limits = std::numeric_limits<float>;

TEST(FloatBytesTest, IsLittleEndianFloat32) {
  const std::vector<float> values = {1.0F, -2.5F};
  EXPECT_EQ(std::string(AsBytes(values)), std::string("\x00\x00\x80\x3f\x00\x00\x20\xc0", 8));
  EXPECT_EQ(AsBytes({}).size(), 0U);
}

TEST(FloatBytesTest, RoundTripsExactly) {
  const std::vector<float> values = {
      0.1F, -0.0F, Limits::denorm_min(), Limits::max(), Limits::lowest(), Limits::infinity()};
  const std::string unaligned = "x" + std::string(AsBytes(values));
  std::vector<float> got(values.size(), 7);
  CopyFromBytes({absl::string_view(unaligned).substr(1)}, absl::MakeSpan(got));
  EXPECT_EQ(AsBytes(got), AsBytes(values));
  CopyFromBytes({""}, {});
  CopyFromBytes({}, {});
}

TEST(FloatBytesTest, PiecesMayBeCutAnywhere) {
  const std::vector<float> values = {1.0F, -2.5F, 3.75F};
  const absl::string_view bytes = AsBytes(values);
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (size_t second = first; second <= bytes.size(); ++second) {
      std::vector<float> got(values.size());
      CopyFromBytes(
          {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)},
          absl::MakeSpan(got));
      EXPECT_EQ(got, values);
    }
  }
}

TEST(FloatBytesTest, FindsNothingAmongFiniteValues) {
  EXPECT_EQ(FindNonFinite({}), -1);
  EXPECT_EQ(FindNonFinite({{0.0F, -0.0F, Limits::max(), Limits::lowest(), Limits::min(),
                            Limits::denorm_min(), -1.0F}}),
            -1);
  EXPECT_EQ(FindNonFinite(std::vector<float>(20000, 3.4e38F)), -1);
}

TEST(FloatBytesTest, FindsTheFirstThatIsNotFinite) {
  for (const float bad : {Limits::quiet_NaN(), -Limits::quiet_NaN(), Limits::signaling_NaN(),
                          Limits::infinity(), -Limits::infinity()}) {
    // Around the borders of the stretches of the search.
    for (const int64_t index : {0, 1, 4095, 4096, 4097, 8191, 8192, 9998}) {
      std::vector<float> values(10000, 1.0F);
      values[index] = bad;
      EXPECT_EQ(FindNonFinite(values), index) << bad;
      values[9999] = bad;
      EXPECT_EQ(FindNonFinite(values), index) << bad;
    }
    EXPECT_EQ(FindNonFinite(std::vector<float>(1, bad)), 0);
  }
}

}  // namespace
}  // namespace percentdelta
