// SPDX-License-Identifier: Apache-2.0

#include "server/update/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace percentdelta {
namespace {

constexpr int64_t kLate = int64_t{1} << 40;

struct Row {
  int64_t step;
  double gamma;
};

void ExpectGammas(const ScheduleSpec& schedule, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    EXPECT_NEAR(Gamma(schedule, row.step), row.gamma, 1e-15) << "step " << row.step;
  }
}

TEST(PowerTest, IsThatOfTheLibrary) {
  for (const double base : {0.9, 0.999, 0.5, 1.0}) {
    for (const int64_t exponent : {0, 1, 2, 3, 7, 64, 1000}) {
      const double expected = std::pow(base, static_cast<double>(exponent));
      EXPECT_NEAR(Power(base, exponent), expected, 1e-13 * expected) << base << " " << exponent;
    }
  }
  EXPECT_EQ(Power(0.5, 3), 0.125);
  EXPECT_EQ(Power(0.9, kLate), 0);
  EXPECT_EQ(Power(1, kLate), 1);
}

TEST(GammaTest, Constant) { ExpectGammas({}, {{0, 1}, {1, 1}, {kLate, 1}}); }

TEST(GammaTest, Equation9) {
  ExpectGammas({LinearDecay{0.25, 0}}, {{0, 1}, {1, 0.75}, {3, 0.25}, {4, 0}, {5, 0}, {kLate, 0}});
}

TEST(GammaTest, Equation10) {
  ExpectGammas({LinearDecay{0.25, 0.125}},
               {{0, 1}, {2, 0.5}, {3, 0.25}, {4, 0.125}, {kLate, 0.125}});
  ExpectGammas({LinearDecay{0, 1}}, {{7, 1}});
}

TEST(GammaTest, Step) {
  ExpectGammas({StepDecay{3, 0.5}}, {{0, 1}, {2, 1}, {3, 0.5}, {5, 0.5}, {6, 0.25}, {kLate, 0}});
  ExpectGammas({StepDecay{1, 0.1}}, {{0, 1}, {1, 0.1}, {2, 0.01}});
  ExpectGammas({StepDecay{10, 1}}, {{0, 1}, {kLate, 1}});
}

TEST(GammaTest, Cosine) {
  const double root = std::sqrt(0.5);
  ExpectGammas(
      {CosineDecay{8, 0}},
      {{0, 1}, {2, (1 + root) / 2}, {4, 0.5}, {6, (1 - root) / 2}, {8, 0}, {9, 0}, {kLate, 0}});
  ExpectGammas({CosineDecay{8, 0.2}}, {{0, 1}, {4, 0.6}, {8, 0.2}, {100, 0.2}});
  ExpectGammas({CosineDecay{1, 0.5}}, {{0, 1}, {1, 0.5}});
  // Every step of a long one is the library's cosine.
  for (int64_t step = 0; step <= 5000; ++step) {
    const double pi = std::acos(-1.0);
    EXPECT_NEAR(Gamma({CosineDecay{5000, 0}}, step),
                (1 + std::cos(pi * static_cast<double>(step) / 5000)) / 2, 1e-15);
  }
}

TEST(GammaTest, Warmup) {
  ExpectGammas({ConstantRate{}, 4}, {{0, 0.25}, {1, 0.5}, {2, 0.75}, {3, 1}, {4, 1}, {kLate, 1}});
  ExpectGammas({ConstantRate{}, 1}, {{0, 1}, {1, 1}});
  ExpectGammas({LinearDecay{0.25, 0.125}, 2}, {{0, 0.5}, {1, 0.75}, {2, 0.5}});
  ExpectGammas({StepDecay{1, 0.5}, 3}, {{0, 1.0 / 3}, {1, 1.0 / 3}, {2, 0.25}, {3, 0.125}});
  ExpectGammas({CosineDecay{8, 0}, 8}, {{0, 0.125}, {4, 0.625 * 0.5}, {8, 0}});
}

}  // namespace
}  // namespace percentdelta
