// SPDX-License-Identifier: Apache-2.0

#include "common/base/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

// safetensors_test.cc has the table of what is malformed; this is what float32 alone cannot show.
TEST(SafetensorsHeaderTest, PlacesOfAnyDtypeByOffset) {
  ASSERT_OK_AND_ASSIGN(const SafetensorsIndex index,
                       ParseSafetensorsHeader("{" + Entry("w", "F32", "[2]", "[3,11]") + "," +
                                                  Entry("mask", "BOOL", "[3]", "[0,3]") + "," +
                                                  Entry("h", "BF16", "[2,2]", "[11,19]") + "," +
                                                  Entry("new", "F4_NEW", "[7]", "[19,20]") + "}",
                                              20));
  ASSERT_EQ(index.places.size(), 4U);
  EXPECT_EQ(index.places[0].name, "mask");
  EXPECT_EQ(index.places[1].name, "w");
  EXPECT_EQ(index.places[1].begin, 3U);
  EXPECT_EQ(index.places[1].end, 11U);
  EXPECT_EQ(index.places[2].dtype, "BF16");
  EXPECT_THAT(index.places[2].shape, ElementsAre(2, 2));
  EXPECT_EQ(index.places[3].dtype, "F4_NEW");
  EXPECT_THAT(index.metadata, IsEmpty());
}

TEST(SafetensorsHeaderTest, AShapeMustFitTheBytesOfADtypeThatIsKnown) {
  struct Dtype {
    const char* name;
    uint64_t bytes;
  };
  for (const Dtype& dtype : {Dtype{"BOOL", 1},
                             {"U8", 1},
                             {"I8", 1},
                             {"F8_E4M3", 1},
                             {"F8_E5M2", 1},
                             {"I16", 2},
                             {"U16", 2},
                             {"F16", 2},
                             {"BF16", 2},
                             {"I32", 4},
                             {"U32", 4},
                             {"F32", 4},
                             {"I64", 8},
                             {"U64", 8},
                             {"F64", 8}}) {
    EXPECT_EQ(BytesOfDtype(dtype.name), dtype.bytes);
    const auto parse = [&](uint64_t bytes) {
      return ParseSafetensorsHeader(
          "{" + Entry("a", dtype.name, "[3]", absl::StrCat("[0,", bytes, "]")) + "}", bytes);
    };
    EXPECT_OK(parse(3 * dtype.bytes));
    for (const uint64_t bytes : {3 * dtype.bytes + 1, 3 * dtype.bytes - 1, 2 * dtype.bytes}) {
      EXPECT_THAT(parse(bytes),
                  StatusIs(absl::StatusCode::kDataLoss, HasSubstr("its shape [3] does not fit")))
          << dtype.name << " " << bytes;
    }
  }
  EXPECT_EQ(BytesOfDtype("f32"), std::nullopt);
}

}  // namespace
}  // namespace percentdelta
