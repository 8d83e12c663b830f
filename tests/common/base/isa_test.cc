// SPDX-License-Identifier: Apache-2.0

#include "common/base/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "common/base/vectorized.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(IsaTest, SupportedIsasDescendToGeneric) {
  const std::vector<Isa> supported = SupportedIsas();
  for (size_t i = 1; i < supported.size(); ++i) EXPECT_LT(supported[i], supported[i - 1]);
  EXPECT_EQ(supported.back(), Isa::kGeneric);
  EXPECT_EQ(CurrentIsa(), supported.front());
}

TEST(IsaTest, IsSelectedByItsName) {
  for (const Isa isa : SupportedIsas()) EXPECT_THAT(SelectIsa(IsaName(isa)), IsOkAndHolds(isa));
  EXPECT_THAT(SelectIsa(""), IsOkAndHolds(SupportedIsas().front()));
  EXPECT_THAT(SelectIsa("x86-64-v9"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"x86-64-v9\""), HasSubstr("generic"))));
}

void MultiplyAndAdd(const float* __restrict x, double factor, size_t count, float* __restrict sum) {
  for (size_t i = 0; i < count; ++i) sum[i] = static_cast<float>(sum[i] + factor * x[i]);
}

// Sizes that no vector divides.
TEST(VectorizedTest, ComputesTheSameBitsWithEveryIsa) {
  constexpr size_t kCount = 1003;
  std::vector<float> x(kCount);
  for (size_t i = 0; i < kCount; ++i) x[i] = 1.0F / static_cast<float>(i + 3);
  std::vector<float> expected(kCount, 0.7F);
  MultiplyAndAdd(x.data(), 1.1, kCount, expected.data());
  for (const Isa isa : SupportedIsas()) {
    SetCurrentIsaForTesting(isa);
    std::vector<float> sum(kCount, 0.7F);
    Vectorized<MultiplyAndAdd>(x.data(), 1.1, kCount, sum.data());
    EXPECT_EQ(sum, expected) << IsaName(isa);
  }
  SetCurrentIsaForTesting(SupportedIsas().front());
}

}  // namespace
}  // namespace percentdelta
