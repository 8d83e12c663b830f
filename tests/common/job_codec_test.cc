#include "common/job_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

Job DefaultJob() {
  const auto job = ParseJob(DefaultJobText(), "the default job");
  EXPECT_TRUE(job.ok()) << job.status();
  return job.value_or(Job());
}

// Every field set, and to something else than its default.
Job FullJob() {
  Job job;
  job.name = "full";
  job.model.architecture = "arch";
  job.model.tensors = {{"a/w", {3, 4}, TruncatedNormalInitializer{0.1}},
                       {"a/b", {}, ConstantInitializer{0.25}}};
  job.optimizer = {0.03, PercentDeltaRule{1e-6}};
  job.schedule = {0.001, 0.01};
  job.momentum = {0.9, 0.8};
  job.gradients_per_step = 2;
  job.max_steps = 100;
  job.batch_size = 5;
  job.seed = ~uint64_t{0};
  job.evaluation = EvaluationSpec{10, 20};
  job.data = {60, 40};
  return job;
}

using Change = std::function<void(Job&)>;

struct Bad {
  Change change;
  std::string field;
  std::string expected;
  std::string got;
};

TEST(DefaultJobTest, IsThePapers) {
  const Job job = DefaultJob();
  EXPECT_EQ(job.model.architecture, "mnist_cnn");
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
  };
  const std::vector<Tensor> tensors = {
      {"conv1/weights", {5, 5, 1, 32}},  {"conv1/biases", {32}},
      {"conv2/weights", {5, 5, 32, 64}}, {"conv2/biases", {64}},
      {"fc1/weights", {3136, 1024}},     {"fc1/biases", {1024}},
      {"fc2/weights", {1024, 10}},       {"fc2/biases", {10}},
  };
  ASSERT_EQ(job.model.tensors.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorSpec& tensor = job.model.tensors[i];
    EXPECT_EQ(tensor.name, tensors[i].name);
    EXPECT_EQ(tensor.shape, tensors[i].shape);
    if (tensor.shape.size() > 1) {
      EXPECT_EQ(std::get<TruncatedNormalInitializer>(tensor.initializer).stddev, 0.1);
    } else {
      EXPECT_EQ(std::get<ConstantInitializer>(tensor.initializer).value, 0.1);
    }
  }
  EXPECT_EQ(job.model.size(), 3274634);
  EXPECT_EQ(job.batch_size, 500);
  EXPECT_TRUE(std::holds_alternative<PercentDeltaRule>(job.optimizer.rule));
  EXPECT_GT(job.momentum.coefficient, 0);
  EXPECT_GT(job.schedule.slope, 0);
  EXPECT_EQ(job.gradients_per_step, 1);
  EXPECT_TRUE(job.evaluation.has_value());
  EXPECT_EQ(job.data.training_examples, 60000);
  EXPECT_EQ(job.data.test_examples, 10000);
}

TEST(JobCodecTest, ComesBackFromText) {
  Job bare = FullJob();
  bare.optimizer.rule = SgdRule{};
  bare.schedule = {};
  bare.momentum = {};
  bare.evaluation.reset();
  for (const Job& job : {DefaultJob(), FullJob(), bare}) {
    const auto read = ParseJob(JobToText(job), "text");
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(JobToText(*read), JobToText(job));
    EXPECT_EQ(JobHash(*read), JobHash(job));
    EXPECT_EQ(read->evaluation.has_value(), job.evaluation.has_value());
    EXPECT_EQ(read->optimizer.rule.index(), job.optimizer.rule.index());
  }
  // Field by field for one of them.
  const Job read = *ParseJob(JobToText(FullJob()), "text");
  EXPECT_EQ(read.name, "full");
  EXPECT_EQ(read.model.architecture, "arch");
  EXPECT_THAT(read.model.tensors[0].shape, ElementsAre(3, 4));
  EXPECT_THAT(read.model.tensors[1].shape, IsEmpty());
  EXPECT_EQ(std::get<TruncatedNormalInitializer>(read.model.tensors[0].initializer).stddev, 0.1);
  EXPECT_EQ(std::get<ConstantInitializer>(read.model.tensors[1].initializer).value, 0.25);
  EXPECT_EQ(read.optimizer.learning_rate, 0.03);
  EXPECT_EQ(std::get<PercentDeltaRule>(read.optimizer.rule).epsilon, 1e-6);
  EXPECT_EQ(read.schedule.slope, 0.001);
  EXPECT_EQ(read.schedule.floor, 0.01);
  EXPECT_EQ(read.momentum.coefficient, 0.9);
  EXPECT_EQ(read.momentum.dampening, 0.8);
  EXPECT_EQ(read.gradients_per_step, 2);
  EXPECT_EQ(read.max_steps, 100);
  EXPECT_EQ(read.batch_size, 5);
  EXPECT_EQ(read.seed, ~uint64_t{0});
  EXPECT_EQ(read.evaluation->every_steps, 10);
  EXPECT_EQ(read.evaluation->batch_size, 20);
  EXPECT_EQ(read.data.training_examples, 60);
  EXPECT_EQ(read.data.test_examples, 40);
}

TEST(JobCodecTest, AbsentFieldsHaveTheirDefaults) {
  const auto job = ParseJob(
      "name: 'n' model { architecture: 'a' tensors { name: 't' } }"
      "optimizer { learning_rate: 0.5 sgd {} } gradients_per_step: 1 max_steps: 1 batch_size: 1"
      " data { training_examples: 1 }",
      "text");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(std::get<ConstantInitializer>(job->model.tensors[0].initializer).value, 0);
  EXPECT_EQ(job->model.tensors[0].size(), 1);
  EXPECT_EQ(job->momentum.coefficient, 0);
  EXPECT_EQ(job->schedule.slope, 0);
  EXPECT_FALSE(job->evaluation.has_value());
}

TEST(JobHashTest, IsStable) {
  EXPECT_EQ(JobHash(FullJob()), JobHash(FullJob()));
  // `protoc --encode=percentdelta.v1.Job | sha256sum` of the same job.
  EXPECT_EQ(JobHash(FullJob()), "d6cbe8d91d12afae01e489e1c2d22a207c8030ce692cd16866e5f1de70d86b6f");
}

TEST(JobHashTest, DependsOnEveryField) {
  const std::vector<Change> changes = {
      [](Job& job) { job.name += "x"; },
      [](Job& job) { job.model.architecture += "x"; },
      [](Job& job) { job.model.tensors[0].name += "x"; },
      [](Job& job) {
        job.model.tensors[0].shape = {4, 3};
      },
      [](Job& job) { job.model.tensors[0].shape = {12}; },
      [](Job& job) { job.model.tensors[0].initializer = TruncatedNormalInitializer{0.2}; },
      [](Job& job) { job.model.tensors[0].initializer = ConstantInitializer{0.1}; },
      [](Job& job) { job.model.tensors[1].initializer = ConstantInitializer{0.5}; },
      [](Job& job) { std::swap(job.model.tensors[0], job.model.tensors[1]); },
      [](Job& job) { job.model.tensors.pop_back(); },
      [](Job& job) { job.optimizer.learning_rate = 0.04; },
      [](Job& job) { job.optimizer.rule = PercentDeltaRule{1e-5}; },
      [](Job& job) { job.optimizer.rule = SgdRule{}; },
      [](Job& job) { job.schedule.slope = 0.002; },
      [](Job& job) { job.schedule.floor = 0.02; },
      [](Job& job) { job.momentum.coefficient = 0.8; },
      [](Job& job) { job.momentum.dampening = 0; },
      [](Job& job) { job.gradients_per_step = 3; },
      [](Job& job) { job.max_steps = 101; },
      [](Job& job) { job.batch_size = 6; },
      [](Job& job) { job.seed = 0; },
      [](Job& job) { job.evaluation.reset(); },
      [](Job& job) { job.evaluation->every_steps = 11; },
      [](Job& job) { job.evaluation->batch_size = 21; },
      [](Job& job) { job.data.training_examples = 61; },
      [](Job& job) { job.data.test_examples = 41; },
  };
  std::set<std::string> hashes = {JobHash(FullJob())};
  for (size_t i = 0; i < changes.size(); ++i) {
    Job job = FullJob();
    changes[i](job);
    EXPECT_TRUE(hashes.insert(JobHash(job)).second) << "change " << i;
  }
}

TEST(ValidateJobTest, EveryBadFieldIsNamed) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const std::string tensor = "model.tensors \"a/w\"";
  const auto shape = [](const std::vector<int64_t>& s) {
    return [s](Job& job) { job.model.tensors[0].shape = s; };
  };
  const auto name = [](const std::string& n) {
    return [n](Job& job) { job.model.tensors[0].name = n; };
  };
  const auto init = [](Initializer i) {
    return [i](Job& job) { job.model.tensors[0].initializer = i; };
  };
  const int64_t huge = int64_t{1} << 40;
  std::vector<Bad> table = {
      {[](Job& j) { j.name = ""; }, "name", "a name", "none"},
      {[](Job& j) { j.model.architecture = ""; }, "model.architecture", "a name", "none"},
      {[](Job& j) { j.model.tensors.clear(); }, "model.tensors", "at least one tensor", "none"},
      {name(""), "model.tensors", "tensors with names", "one without"},
      {name("a/b"), "model.tensors", "different names", "a/b twice"},
      {name("a b"), "model.tensors \"a b\"", "printable characters", "another"},
      {name("a\x7f"), "model.tensors", "printable characters", "another"},
      {name("a\"b"), "model.tensors", "without blanks, quotes", "another"},
      {shape({3, 0}), tensor + " shape", "dimensions of at least 1", "0"},
      {shape({-3}), tensor + " shape", "dimensions of at least 1", "-3"},
      {shape({huge, 2}), tensor + " shape", "at most 1099511627776 entries", "more"},
      {shape({huge, huge, huge}), tensor + " shape", "at most 1099511627776 entries", "more"},
      {shape({huge}), "model.tensors", "at most 1099511627776 entries", "more"},
      {init(TruncatedNormalInitializer{0}), tensor, "a positive number", "0"},
      {init(TruncatedNormalInitializer{-1}), tensor, "a positive number", "-1"},
      {init(TruncatedNormalInitializer{nan}), tensor, "a positive number", "nan"},
      {init(TruncatedNormalInitializer{inf}), tensor, "a positive number", "inf"},
      {init(ConstantInitializer{inf}), tensor, "a finite number", "another"},
      {[](Job& j) { j.optimizer.learning_rate = 0; }, "optimizer.learning_rate", "positive", "0"},
      {[=](Job& j) { j.optimizer.learning_rate = nan; }, "optimizer.learning_rate", "positive",
       "nan"},
      {[](Job& j) { j.optimizer.rule = PercentDeltaRule{0}; }, "optimizer.percent_delta.epsilon",
       "a positive number", "0"},
      {[=](Job& j) { j.optimizer.rule = PercentDeltaRule{inf}; }, "optimizer.percent_delta.epsilon",
       "a positive number", "inf"},
      {[](Job& j) { j.schedule.slope = -0.5; }, "schedule.linear_decay.slope", "at least 0",
       "-0.5"},
      {[](Job& j) { j.schedule.floor = 1.5; }, "schedule.linear_decay.floor", "in 0..1", "1.5"},
      {[=](Job& j) { j.schedule.floor = nan; }, "schedule.linear_decay.floor", "in 0..1", "nan"},
      {[](Job& j) { j.momentum.coefficient = 1; }, "momentum.coefficient", "in [0, 1)", "1"},
      {[](Job& j) { j.momentum.coefficient = -1; }, "momentum.coefficient", "in [0, 1)", "-1"},
      {[](Job& j) { j.momentum.dampening = 1; }, "momentum.dampening", "in [0, 1)", "1"},
      {[](Job& j) { j.gradients_per_step = 0; }, "gradients_per_step", "1..1024", "0"},
      {[](Job& j) { j.gradients_per_step = 1025; }, "gradients_per_step", "1..1024", "1025"},
      {[](Job& j) { j.max_steps = 0; }, "max_steps", "1..2147483647", "0"},
      {[](Job& j) { j.max_steps = 1LL << 31; }, "max_steps", "1..2147483647", "2147483648"},
      {[](Job& j) { j.batch_size = 0; }, "batch_size", "1..60", "0"},
      {[](Job& j) { j.batch_size = 61; }, "batch_size", "1..60", "61"},
      {[](Job& j) { j.evaluation->every_steps = 0; }, "evaluation.every_steps", "at least 1", "0"},
      {[](Job& j) { j.evaluation->batch_size = 0; }, "evaluation.batch_size", "1..40", "0"},
      {[](Job& j) { j.evaluation->batch_size = 41; }, "evaluation.batch_size", "1..40", "41"},
      {[](Job& j) { j.data.training_examples = 0; }, "data.training_examples", "1..1099511627776",
       "0"},
      {[](Job& j) { j.data.test_examples = 0; }, "data.test_examples", "1..1099511627776", "0"},
      {[](Job& j) { j.data.test_examples = int64_t{1} << 41; }, "data.test_examples",
       "1..1099511627776", "2199023255552"},
      {[](Job& j) { j.data.test_examples = int64_t{1} << 40; }, "evaluation.batch_size",
       "at most 1048576 batches", "20"},
  };
  EXPECT_TRUE(ValidateJob(FullJob()).ok());
  for (const Bad& bad : table) {
    Job job = FullJob();
    bad.change(job);
    const absl::Status status = ValidateJob(job);
    SCOPED_TRACE(bad.field + ", " + bad.got);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    const std::string message(status.message());
    EXPECT_THAT(message, StartsWith("job: " + bad.field));
    EXPECT_THAT(message, HasSubstr(bad.expected));
    EXPECT_THAT(message, EndsWith("got " + bad.got));
  }
}

TEST(JobWarningsTest, TensorsThatStartAtZeroUnderPercentDelta) {
  Job job = FullJob();
  job.optimizer = {0.5, PercentDeltaRule{1e-3}};
  for (TensorSpec& tensor : job.model.tensors) tensor.initializer = ConstantInitializer{1};
  EXPECT_THAT(JobWarnings(job), IsEmpty());
  job.model.tensors.back().initializer = ConstantInitializer{0};
  const std::vector<std::string> warnings = JobWarnings(job);
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings[0],
              StartsWith("tensor " + job.model.tensors.back().name + " starts at zero"));
  EXPECT_THAT(warnings[0], HasSubstr("learning_rate * epsilon = 0.0005"));
  job.optimizer.rule = SgdRule{};
  EXPECT_THAT(JobWarnings(job), IsEmpty());
}

TEST(ParseJobTest, SyntaxErrorsSayWhere) {
  struct Row {
    std::string text;
    std::string says;
  };
  for (const Row& row : std::vector<Row>{
           {"name: \"a\"\n  nonsense: 3\n", "job.txt:2:"},
           {"name: 'a'\nmax_steps: 'many'", "job.txt:2:12: "},
           {"model {", "job.txt:1:"},
           {"\n\n\nname = 3", "job.txt:4:"},
           {"\xff\xfe\x01", "job.txt:1:1: "},
       }) {
    const absl::Status status = ParseJob(row.text, "job.txt").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), StartsWith(row.says)) << row.text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("job.proto"));
  }
}

TEST(ParseJobTest, BadFieldsSayWhere) {
  const absl::Status status = ParseJob("name: 'a'", "job.txt").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), StartsWith("job.txt: job: "));
  v1::Job proto = JobToProto(FullJob());
  proto.mutable_optimizer()->clear_rule();
  EXPECT_EQ(std::string(JobFromProto(proto).status().message()),
            "job: optimizer: expected a rule, one of percent_delta, sgd, got none");
}

// Every job that is read is checked.
TEST(ParseJobTest, RefusesBadValues) {
  v1::Job proto = JobToProto(FullJob());
  proto.mutable_schedule()->mutable_linear_decay()->set_slope(-0.5);
  EXPECT_EQ(std::string(JobFromProto(proto).status().message()),
            "job: schedule.linear_decay.slope: expected a number of at least 0, got -0.5");
  Job job = FullJob();
  job.batch_size = 61;
  EXPECT_EQ(std::string(ParseJob(JobToText(job), "job.txt").status().message()),
            "job.txt: job: batch_size: expected 1..60, got 61");
}

TEST(LoadJobTest, TakesTheDefaultWithoutAPath) {
  const auto job = LoadJob("");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(JobHash(*job), JobHash(DefaultJob()));
}

TEST(LoadJobTest, ReadsFiles) {
  const std::string path = testing::TempDir() + "job_codec_test_reads_files.textproto";
  std::ofstream(path) << JobToText(FullJob());
  const auto job = LoadJob(path);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(JobHash(*job), JobHash(FullJob()));
  std::ofstream(path) << "name: 'a'\nbroken";
  EXPECT_THAT(std::string(LoadJob(path).status().message()), StartsWith(path + ":2:"));
  std::remove(path.c_str());
}

TEST(LoadJobTest, UnreadableFilesAreNamed) {
  const std::string directory = testing::TempDir();
  for (const std::string& path : {std::string("/nowhere/job.textproto"), directory}) {
    const absl::Status status = LoadJob(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << path;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
}

}  // namespace
}  // namespace percentdelta
