// SPDX-License-Identifier: Apache-2.0

#include "common/base/half_float.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace percentdelta {
namespace {

using Limits = std::numeric_limits<float>;

struct Case {
  uint16_t bits;
  float value;
};

// NaN equals NaN here, and zeros differ by their sign.
void ExpectBits(float got, float expected, uint16_t bits) {
  EXPECT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected))
      << std::hex << bits << ": " << got << " and " << expected;
}

TEST(HalfFloatTest, Float16) {
  for (const Case& c : {Case{0x0000, 0.0F},
                        {0x8000, -0.0F},
                        {0x3c00, 1.0F},
                        {0xbc00, -1.0F},
                        {0x3c01, 1.0F + 0x1p-10F},
                        {0x3555, 0x1.554p-2F},  // a third
                        {0x7bff, 65504.0F},     // the largest
                        {0x0400, 0x1p-14F},     // the least that is normal
                        {0x0001, 0x1p-24F},     // the least
                        {0x8001, -0x1p-24F},
                        {0x03ff, 0x1.ff8p-15F},  // the largest subnormal
                        {0x7c00, Limits::infinity()},
                        {0xfc00, -Limits::infinity()}}) {
    ExpectBits(FromFloat16(c.bits), c.value, c.bits);
  }
  EXPECT_TRUE(std::isnan(FromFloat16(0x7e00)));
  EXPECT_TRUE(std::isnan(FromFloat16(0xfc01)));
}

// Every number, by the definition: (-1)^s * 2^(e - 15) * (1 + f / 1024), or, with e = 0, * (f /
// 1024) and 2^-14.
TEST(HalfFloatTest, Float16ByItsDefinition) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 0x1f);
    if (exponent == 0x1f) continue;
    const double fraction = (bits & 0x3ff) / 1024.0;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    const auto value = static_cast<float>((bits & 0x8000) != 0 ? -magnitude : magnitude);
    ExpectBits(FromFloat16(static_cast<uint16_t>(bits)), value, static_cast<uint16_t>(bits));
  }
}

TEST(HalfFloatTest, Bfloat16) {
  for (const Case& c : {Case{0x0000, 0.0F},
                        {0x8000, -0.0F},
                        {0x3f80, 1.0F},
                        {0xc049, -3.140625F},
                        {0x7f7f, 0x1.fep127F},
                        {0x0080, Limits::min()},
                        {0x0001, 0x1p-133F},
                        {0x7f80, Limits::infinity()},
                        {0xff80, -Limits::infinity()}}) {
    ExpectBits(FromBfloat16(c.bits), c.value, c.bits);
  }
  EXPECT_TRUE(std::isnan(FromBfloat16(0x7fc0)));
}

}  // namespace
}  // namespace percentdelta
