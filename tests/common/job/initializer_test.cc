// SPDX-License-Identifier: Apache-2.0

// Initializers and the file of initial weights in jobs: their text, their checks, their hashes.
// initial_weights_test.cc draws from them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/job/job_codec.h"
#include "common/job/job_validation.h"
#include "tests/common/job/full_job.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Kind = ScaledInitializer::Kind;

constexpr char kTensor[] = "job: model.tensors \"a/w\" initializer";
const std::string kHash(64, 'a');

// The first tensor has the shape [3, 4].
Job JobWith(const Initializer& initializer) {
  Job job = FullJob();
  job.model.tensors[0].initializer = initializer;
  return job;
}

Job JobFromFile() {
  Job job = FullJob();
  for (TensorSpec& tensor : job.model.tensors) tensor.initializer = FileInitializer{};
  job.initial_weights = InitialWeightsSpec{"/w.safetensors", kHash};
  return job;
}

struct Written {
  Initializer initializer;
  std::string text;  // of its field, on one line
};

std::vector<Written> AllInitializers() {
  return {
      {ConstantInitializer{0.25}, "constant { value: 0.25 }"},
      {TruncatedNormalInitializer{0.5}, "truncated_normal { stddev: 0.5 }"},
      {UniformInitializer{-0.25, 0.5}, "uniform { low: -0.25 high: 0.5 }"},
      {NormalInitializer{0.125, 0.5}, "normal { mean: 0.125 stddev: 0.5 }"},
      {ScaledInitializer{Kind::kGlorotUniform, Layout::kInOut},
       "glorot_uniform { layout: IN_OUT gain: 1 }"},
      {ScaledInitializer{Kind::kGlorotNormal, Layout::kOutIn, 2},
       "glorot_normal { layout: OUT_IN gain: 2 }"},
      {ScaledInitializer{Kind::kHeUniform, Layout::kOutIn, 0.5},
       "he_uniform { layout: OUT_IN gain: 0.5 }"},
      {ScaledInitializer{Kind::kHeNormal, Layout::kInOut}, "he_normal { layout: IN_OUT gain: 1 }"},
  };
}

TEST(InitializerTest, EachHasItsTextAndItsHash) {
  std::set<std::string> hashes;
  for (const Written& written : AllInitializers()) {
    const Job job = JobWith(written.initializer);
    EXPECT_OK(ValidateJob(job));
    const std::string text = JobToText(job);
    std::string line = text;
    while (absl::StrReplaceAll({{"\n", " "}, {"  ", " "}}, &line) > 0) {
    }
    EXPECT_THAT(line, HasSubstr("initializer { " + written.text + " }"));
    ASSERT_OK_AND_ASSIGN(const Job read, ParseJob(text, "text"));
    EXPECT_EQ(JobToText(read), text);
    EXPECT_TRUE(hashes.insert(JobHash(job)).second) << written.text;
  }
}

TEST(InitializerTest, AGainThatIsAbsentIsOne) {
  const std::string text =
      JobToText(JobWith(ScaledInitializer{Kind::kHeNormal, Layout::kOutIn, 1}));
  ASSERT_OK_AND_ASSIGN(const Job read,
                       ParseJob(absl::StrReplaceAll(text, {{"gain: 1", ""}}), "text"));
  EXPECT_EQ(JobToText(read), text);
  ASSERT_OK_AND_ASSIGN(const Job zero,
                       ParseJob(absl::StrReplaceAll(text, {{"gain: 1", "gain: 0.5"}}), "text"));
  EXPECT_EQ(std::get<ScaledInitializer>(zero.model.tensors[0].initializer).gain, 0.5);
}

TEST(InitializerTest, SaysWhatIsWrong) {
  struct Bad {
    Initializer initializer;
    std::string message;
  };
  const ScaledInitializer no_layout{Kind::kHeNormal, Layout::kUnspecified};
  for (const Bad& bad : std::vector<Bad>{
           {UniformInitializer{1, 1},
            ".uniform.high: expected more than low, 1, in single"
            " precision, got 1"},
           {UniformInitializer{0.5, -0.5},
            ".uniform.high: expected more than low, 0.5, in single"
            " precision, got -0.5"},
           {UniformInitializer{1, 1 + 1e-12},
            ".uniform.high: expected more than low, 1, in single"
            " precision, got 1"},
           {UniformInitializer{-1e-38, 1},
            ".uniform.low: expected 0 or a number of magnitude"
            " 1e-37..1e+37, got -1e-38"},
           {no_layout, ".he_normal.layout: expected IN_OUT or OUT_IN, got none"},
           {ScaledInitializer{Kind::kGlorotUniform, static_cast<Layout>(7)},
            ".glorot_uniform.layout: expected IN_OUT or OUT_IN, got 7"},
           {FileInitializer{}, ": expected one, in a job without initial_weights, got none"},
       }) {
    EXPECT_THAT(ValidateJob(JobWith(bad.initializer)),
                StatusIs(absl::StatusCode::kInvalidArgument, kTensor + bad.message));
  }
}

TEST(InitializerTest, ScaledNeedsInputsAndOutputs) {
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{}, {12}}) {
    for (const Written& written : AllInitializers()) {
      Job job = JobWith(written.initializer);
      job.model.tensors[0].shape = shape;
      const bool scaled = std::holds_alternative<ScaledInitializer>(written.initializer);
      EXPECT_EQ(ValidateJob(job).ok(), !scaled) << written.text;
      if (!scaled) continue;
      EXPECT_THAT(
          ValidateJob(job),
          StatusIs(absl::StatusCode::kInvalidArgument,
                   HasSubstr(absl::StrCat(": expected a tensor of two or more dimensions, which"
                                          " has inputs and outputs, got [",
                                          shape.empty() ? "" : "12", "]"))));
    }
  }
}

TEST(InitialWeightsSpecTest, RoundTripsAndHasNoInitializers) {
  const Job job = JobFromFile();
  EXPECT_OK(ValidateJob(job));
  const std::string text = JobToText(job);
  EXPECT_THAT(text, testing::Not(HasSubstr("initializer")));
  ASSERT_OK_AND_ASSIGN(const Job read, ParseJob(text, "text"));
  EXPECT_EQ(JobToText(read), text);
  EXPECT_TRUE(std::holds_alternative<FileInitializer>(read.model.tensors[1].initializer));
  // Hashes are written in either case.
  ASSERT_OK_AND_ASSIGN(
      const Job upper,
      ParseJob(absl::StrReplaceAll(text, {{kHash, std::string(64, 'A')}}), "text"));
  EXPECT_EQ(JobToText(upper), text);
  EXPECT_THAT(JobWarnings(job), IsEmpty());
}

TEST(InitialWeightsSpecTest, WithoutOneATensorWithoutInitializerIsZero) {
  Job job = FullJob();
  job.model.tensors[1].initializer = ConstantInitializer{0};
  v1::Job proto = JobToProto(job);
  proto.mutable_model()->mutable_tensors(1)->clear_initializer();
  ASSERT_OK_AND_ASSIGN(const Job read, JobFromProto(proto));
  EXPECT_EQ(JobHash(read), JobHash(job));
}

TEST(InitialWeightsSpecTest, SaysWhatIsWrong) {
  struct Bad {
    std::function<void(Job&)> change;
    std::string message;
  };
  for (const Bad& bad : std::vector<Bad>{
           {[](Job& job) { job.model.tensors[0].initializer = ConstantInitializer{0}; },
            std::string(kTensor) + ": expected none besides initial_weights, got constant"},
           {[](Job& job) {
              job.model.tensors[0].initializer =
                  ScaledInitializer{Kind::kGlorotNormal, Layout::kInOut};
            },
            std::string(kTensor) + ": expected none besides initial_weights, got glorot_normal"},
           {[](Job& job) { job.initial_weights->file = ""; },
            "job: initial_weights.file: expected a path, got none"},
           {[](Job& job) { job.initial_weights->file = "~/w"; },
            "job: initial_weights.file: expected a path without \"~\", which is not expanded: give"
            " an absolute path, got \"~/w\""},
           {[](Job& job) { job.initial_weights->file = "hf://w"; },
            "job: initial_weights.file: expected a path in the file system, not a URL: give an"
            " absolute path, got \"hf://w\""},
           {[](Job& job) { job.initial_weights->sha256 = ""; },
            "job: initial_weights.sha256: expected 64 hexadecimal digits, got none"},
           {[](Job& job) { job.initial_weights->sha256 = std::string(63, 'a'); },
            "job: initial_weights.sha256: expected 64 hexadecimal digits, got \"" +
                std::string(63, 'a') + "\""},
           {[](Job& job) { job.initial_weights->sha256[3] = 'g'; },
            "job: initial_weights.sha256: expected 64 hexadecimal digits, got \"aaag" +
                std::string(60, 'a') + "\""},
       }) {
    Job job = JobFromFile();
    bad.change(job);
    EXPECT_THAT(ValidateJob(job), StatusIs(absl::StatusCode::kInvalidArgument, bad.message));
  }
}

// The hash of the weights decides what they are, their place does not.
TEST(InitialWeightsSpecTest, DecisiveDifferences) {
  const Job job = JobFromFile();
  Job moved = job;
  moved.initial_weights->file = "/elsewhere";
  EXPECT_EQ(DecisiveDifferences(job, moved), "");
  EXPECT_NE(JobHash(job), JobHash(moved));
  Job other = job;
  other.initial_weights->sha256[0] = 'b';
  EXPECT_THAT(DecisiveDifferences(job, other), HasSubstr("initial_weights.sha256"));
  EXPECT_NE(JobHash(job), JobHash(other));
  EXPECT_THAT(DecisiveDifferences(job, FullJob()), HasSubstr("initial_weights"));
}

}  // namespace
}  // namespace percentdelta
