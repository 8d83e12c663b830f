// SPDX-License-Identifier: Apache-2.0

#include "server/initial_content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "common/base/durable_file.h"
#include "common/base/safetensors.h"
#include "server/update/optimizer.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class InitialContentTest : public testing::Test {
 protected:
  InitialContentTest() {
    job_.name = "content";
    job_.model = {"none", {{"a", {2, 3}, FileInitializer{}}, {"b", {2}, FileInitializer{}}}};
    job_.optimizer = {0.5, PercentDeltaRule{1e-3}};
    job_.momentum = {0.9, 0.9};
    Write();
  }

  void Write() {
    ASSERT_OK(WriteSafetensors(path_, {{"a", {2, 3}, a_}, {"b", {2}, b_}}, {}));
    job_.initial_weights = InitialWeightsSpec{path_, *Sha256OfFile(path_)};
  }

  InitialContent Content() {
    return InitialContent(job_, Partition(job_.model, 1).ranges_of_shard(0), log_);
  }

  const TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/w.safetensors";
  std::vector<float> a_ = {1, 2, 3, 4, 5, 6};
  std::vector<float> b_ = {7, 8};
  Job job_;
  std::ostringstream text_;
  const Logger log_ = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
};

TEST_F(InitialContentTest, IsTheFilesWithEmptyState) {
  for (const bool read_before : {true, false}) {
    InitialContent content = Content();
    if (read_before) {
      ASSERT_OK(content.Read());
      std::filesystem::remove(path_);  // Take() hands out what was read
    }
    ASSERT_OK_AND_ASSIGN(const std::vector<SliceContent> slices, content.Take());
    ASSERT_EQ(slices.size(), 2U);
    EXPECT_EQ(*slices[0].weights, a_);
    EXPECT_EQ(*slices[1].weights, b_);
    ASSERT_EQ(slices[0].state.size(), StateNames(job_).size());
    ASSERT_FALSE(slices[0].state.empty());
    EXPECT_EQ(*slices[0].state[0], std::vector<float>(6));
    Write();
  }
}

TEST_F(InitialContentTest, BuffersHaveNoStateAndMayBeZero) {
  job_.model.tensors[1].buffer = true;
  b_ = {0, 0};
  Write();
  InitialContent content = Content();
  ASSERT_OK_AND_ASSIGN(const std::vector<SliceContent> slices, content.Take());
  ASSERT_EQ(slices.size(), 2U);
  EXPECT_EQ(slices[0].state.size(), StateNames(job_).size());
  EXPECT_EQ(*slices[1].weights, b_);
  EXPECT_THAT(slices[1].state, IsEmpty());
  EXPECT_THAT(text_.str(), Not(HasSubstr("starts at zero")));
}

TEST_F(InitialContentTest, ReadsTheFileOnceMoreForEachStart) {
  InitialContent content = Content();
  ASSERT_OK(content.Read());
  ASSERT_OK(content.Take());
  ASSERT_OK(content.Take());
  std::filesystem::remove(path_);
  EXPECT_THAT(content.Take(), StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
  Write();
  EXPECT_OK(content.Read());
  content.Drop();
  b_ = {9, 9};  // with which the job's hash does not agree
  ASSERT_OK(WriteSafetensors(path_, {{"a", {2, 3}, a_}, {"b", {2}, b_}}, {}));
  EXPECT_THAT(content.Take(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("expected SHA-256")));
}

TEST_F(InitialContentTest, IsNothingWithoutAFile) {
  job_.initial_weights.reset();
  InitialContent content = Content();
  EXPECT_OK(content.Read());
  ASSERT_OK_AND_ASSIGN(const std::vector<SliceContent> slices, content.Take());
  EXPECT_THAT(slices, IsEmpty());
}

TEST_F(InitialContentTest, WarnsOfTensorsThatTheRuleCannotMove) {
  b_ = {0, -0.0F};
  Write();
  ASSERT_OK(Content().Read());
  EXPECT_THAT(text_.str(), HasSubstr("tensor b starts at zero: PercentDelta moves"));
  EXPECT_THAT(text_.str(), Not(HasSubstr("tensor a starts")));
  text_.str("");
  job_.optimizer.rule = SgdRule{};
  ASSERT_OK(Content().Read());
  EXPECT_THAT(text_.str(), Not(HasSubstr("starts at zero")));
}

}  // namespace
}  // namespace percentdelta
