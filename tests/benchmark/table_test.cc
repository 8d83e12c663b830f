// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/table.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <string>

namespace percentdelta {
namespace {

Table::Run RunWith(const std::map<std::string, double>& counters) {
  Table::Run run;
  run.run_name.function_name = "BM_Checkpoint";
  run.run_name.args = "threads:1";
  run.iterations = 12;
  for (const auto& [name, value] : counters) run.counters[name] = value;
  return run;
}

TEST(TableTest, HasALineOfFigures) {
  EXPECT_EQ(Table::Format(RunWith({{"best", 1.234},
                                   {"median", 2},
                                   {"limit_best", 1},
                                   {"limit_median", 0},
                                   {"ratio", 2},
                                   {"ratio_best", 1.234}})),
            "| Checkpoint, threads:1 | 1.23 | 2 | 1 | 0 | 2.00 | 1.23 | 12 |\n");
}

TEST(TableTest, WhatWasNotMeasuredIsADash) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(Table::Format(RunWith({{"best", -1},
                                   {"median", nan},
                                   {"limit_best", std::numeric_limits<double>::infinity()},
                                   {"ratio", -0.001},
                                   {"ratio_best", 1},
                                   {"worst", nan}})),
            "| Checkpoint, threads:1 | – | – | – | – | – | 1.00 | 12 |\n"
            "| Checkpoint, threads:1: the step held up most | | – | | – | – | | 12 |\n");
}

TEST(TableTest, AnErrorTakesTheFiguresPlace) {
  Table::Run run = RunWith({{"best", -1}});
  run.error_occurred = true;
  run.error_message = "no round was run within its time";
  EXPECT_EQ(Table::Format(run),
            "| Checkpoint, threads:1 | no round was run within its time |||||||\n");
}

}  // namespace
}  // namespace percentdelta
