// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

Manifest TestManifest() {
  Manifest manifest;
  manifest.step = 3;
  manifest.generation = 7;
  manifest.shards = 1;
  manifest.job_hash = "ab";
  manifest.job = "name: \"tiny\"\n";
  manifest.files = {{"history.pb", 5, "cd"}};
  return manifest;
}

// A manifest with another field, and with the checksum that belongs to it.
std::string WithField(const std::string& field) {
  std::string text = ToJson(TestManifest());
  text.resize(text.find(",\n \"checksum\""));
  absl::StrAppend(&text, ",\n", field);
  return absl::StrCat(text, ",\n \"checksum\": \"", Sha256Hex(text + "\n}"), "\"\n}\n");
}

TEST(ManifestTest, ReadsWhatItWrites) {
  ASSERT_OK_AND_ASSIGN(const Manifest read, ParseManifest(ToJson(TestManifest())));
  EXPECT_EQ(ToJson(read), ToJson(TestManifest()));
  EXPECT_EQ(read.step, 3);
  EXPECT_EQ(read.files.size(), 1U);
}

TEST(ManifestTest, RefusesOtherFieldsHoweverDeepTheyAre) {
  constexpr int kDepth = 1'000'000;
  const std::string deep =
      absl::StrCat(" \"more\": ", std::string(kDepth, '['), std::string(kDepth, ']'));
  for (const std::string& field : {std::string(" \"more\": 1"), deep}) {
    EXPECT_THAT(ParseManifest(WithField(field)),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("its own checksum")));
  }
}

// As signed numbers, they would be negative.
TEST(ManifestTest, RefusesNumbersThatAreTooLarge) {
  std::string text = ToJson(TestManifest());
  text.replace(text.find("\"step\": 3"), 9, "\"step\": 18446744073709551615");
  text.resize(text.find(",\n \"checksum\""));
  EXPECT_THAT(
      ParseManifest(absl::StrCat(text, ",\n \"checksum\": \"", Sha256Hex(text + "\n}"), "\"\n}\n")),
      StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace percentdelta
