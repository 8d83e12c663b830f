// SPDX-License-Identifier: Apache-2.0

#include "common/base/portable_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"

namespace percentdelta {
namespace {

TEST(PortableMathTest, ExpAndLogEqualTheLibrarysUpToRounding) {
  constexpr uint64_t kSeed = 300;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  RandomStream random(kSeed, 0);
  for (int i = 0; i < 10000; ++i) {
    const double x = -700 * std::pow(random.Uniform(), 4);
    EXPECT_NEAR(PortableExp(x) / std::exp(x), 1, 1e-15) << x;
    const double y = std::exp(20 * random.Uniform() - 3);
    EXPECT_NEAR(PortableLog(y), std::log(y), 1e-15 * std::max(1.0, std::fabs(std::log(y)))) << y;
  }
  EXPECT_EQ(PortableExp(0), 1);
  EXPECT_EQ(PortableExp(-1e300), 0);
  EXPECT_EQ(PortableExp(-std::numeric_limits<double>::infinity()), 0);
  EXPECT_TRUE(std::isnan(PortableExp(std::nan(""))));
  EXPECT_EQ(PortableLog(1), 0);
  EXPECT_TRUE(std::isnan(PortableLog(std::nan(""))));
}

// The bits must not depend on the C library or the compiler.
TEST(PortableMathTest, ExpAndLogHaveTheirGoldenValues) {
  EXPECT_EQ(PortableExp(-1), 0x1.78b56362cef38p-2);
  EXPECT_EQ(PortableExp(-10.5), 0x1.cdfc263f6a0bap-16);
  EXPECT_EQ(PortableLog(2), 0x1.62e42fefa39efp-1);
  EXPECT_EQ(PortableLog(10), 0x1.26bb1bbb55516p+1);
}

}  // namespace
}  // namespace percentdelta
