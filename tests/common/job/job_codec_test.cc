// SPDX-License-Identifier: Apache-2.0

#include "common/job/job_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "tests/common/job/full_job.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Job DefaultJob() {
  const auto job = ParseJob(DefaultJobText(), "the default job");
  EXPECT_OK(job);
  return job.value_or(Job());
}

TEST(DefaultJobTest, IsThePapersJob) {
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
  EXPECT_GT(std::get<LinearDecay>(job.schedule.decay).slope, 0);
  EXPECT_EQ(job.gradients_per_step, 1);
  EXPECT_TRUE(job.evaluation.has_value());
  EXPECT_EQ(job.data.training_examples, 60000);
  EXPECT_EQ(job.data.test_examples, 10000);
}

TEST(JobCodecTest, RoundTripsThroughText) {
  Job bare = FullJob();
  bare.optimizer.rule = SgdRule{};
  bare.schedule = {};
  bare.momentum = {};
  bare.evaluation.reset();
  for (const Job& job : {DefaultJob(), FullJob(), bare}) {
    ASSERT_OK_AND_ASSIGN(const Job read, ParseJob(JobToText(job), "text"));
    EXPECT_EQ(JobToText(read), JobToText(job));
    EXPECT_EQ(JobHash(read), JobHash(job));
    EXPECT_EQ(read.evaluation.has_value(), job.evaluation.has_value());
    EXPECT_EQ(read.optimizer.rule.index(), job.optimizer.rule.index());
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
  EXPECT_EQ(std::get<LinearDecay>(read.schedule.decay).slope, 0.001);
  EXPECT_EQ(std::get<LinearDecay>(read.schedule.decay).floor, 0.01);
  EXPECT_EQ(read.schedule.warmup_steps, 0);
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
  ASSERT_OK_AND_ASSIGN(
      const Job job,
      ParseJob(
          "name: 'n' model { architecture: 'a' tensors { name: 't' } }"
          "optimizer { learning_rate: 0.5 sgd {} } gradients_per_step: 1 max_steps: 1 batch_size: 1"
          " data { training_examples: 1 }",
          "text"));
  EXPECT_EQ(std::get<ConstantInitializer>(job.model.tensors[0].initializer).value, 0);
  EXPECT_EQ(job.model.tensors[0].size(), 1);
  EXPECT_FALSE(job.model.tensors[0].buffer);
  EXPECT_EQ(job.momentum.coefficient, 0);
  EXPECT_TRUE(std::holds_alternative<ConstantRate>(job.schedule.decay));
  EXPECT_EQ(job.model.dropout_keep_probability, 0);
  EXPECT_FALSE(job.gradient_clipping.has_value());
  EXPECT_FALSE(job.weight_decay.has_value());
  EXPECT_FALSE(job.evaluation.has_value());
}

// Parses a job with this update.
Job ParsedUpdate(const std::string& update) {
  const auto job = ParseJob(
      "name: 'n' model { architecture: 'a' tensors { name: 't' } } gradients_per_step: 1"
      " max_steps: 1 batch_size: 1 data { training_examples: 1 } " +
          update,
      "text");
  EXPECT_OK(job);
  return job.value_or(Job());
}

// Every field of the update, parsed and formatted again.
TEST(JobCodecTest, UpdatesRoundTrip) {
  Job job = ParsedUpdate(
      "optimizer { learning_rate: 0.5 ada_grad { initial_accumulator: 0.1 epsilon: 1e-7 } }"
      " schedule { step_decay { every_steps: 30 factor: 0.25 } warmup_steps: 7 }"
      " gradient_clipping { norm: 5 } weight_decay { rate: 0.01 }");
  EXPECT_EQ(std::get<AdaGradRule>(job.optimizer.rule).initial_accumulator, 0.1);
  EXPECT_EQ(std::get<AdaGradRule>(job.optimizer.rule).epsilon, 1e-7);
  EXPECT_EQ(std::get<StepDecay>(job.schedule.decay).every_steps, 30);
  EXPECT_EQ(std::get<StepDecay>(job.schedule.decay).factor, 0.25);
  EXPECT_EQ(job.schedule.warmup_steps, 7);
  EXPECT_EQ(job.gradient_clipping->norm, 5);
  EXPECT_EQ(job.weight_decay->rate, 0.01);
  EXPECT_EQ(JobHash(*ParseJob(JobToText(job), "text")), JobHash(job));

  job = ParsedUpdate(
      "optimizer { learning_rate: 0.5 adam { beta1: 0.8 beta2: 0.99 epsilon: 1e-6 } }"
      " schedule { cosine { steps: 40 floor: 0.125 } }");
  EXPECT_EQ(std::get<AdamRule>(job.optimizer.rule).beta1, 0.8);
  EXPECT_EQ(std::get<AdamRule>(job.optimizer.rule).beta2, 0.99);
  EXPECT_EQ(std::get<AdamRule>(job.optimizer.rule).epsilon, 1e-6);
  EXPECT_EQ(std::get<CosineDecay>(job.schedule.decay).steps, 40);
  EXPECT_EQ(std::get<CosineDecay>(job.schedule.decay).floor, 0.125);
  EXPECT_EQ(JobHash(*ParseJob(JobToText(job), "text")), JobHash(job));

  job = ParsedUpdate(
      "optimizer { learning_rate: 0.5 lars { trust_coefficient: 0.001 weight_decay: 0.0005 } }"
      " momentum { coefficient: 0.9 dampening: 0.5 nesterov: true }"
      " schedule { constant {} warmup_steps: 5 }");
  EXPECT_EQ(std::get<LarsRule>(job.optimizer.rule).trust_coefficient, 0.001);
  EXPECT_EQ(std::get<LarsRule>(job.optimizer.rule).weight_decay, 0.0005);
  EXPECT_TRUE(job.momentum.nesterov);
  EXPECT_TRUE(std::holds_alternative<ConstantRate>(job.schedule.decay));
  EXPECT_EQ(job.schedule.warmup_steps, 5);
  EXPECT_EQ(JobHash(*ParseJob(JobToText(job), "text")), JobHash(job));
}

// Every field of every rule round-trips, counts in the hash, and is in the message.
TEST(JobCodecTest, RulesRoundTrip) {
  std::set<std::string> hashes;
  size_t kinds = 0;
  ForEachRule([&](auto rule) {
    SCOPED_TRACE(rule.kName);
    ++kinds;
    double number = 0.25;
    for (const auto& field : rule.Fields()) rule.*field.value = number /= 2;
    Job job = FullJob();
    job.momentum = {};
    job.optimizer.rule = rule;
    const auto read = ParseJob(JobToText(job), "text");
    ASSERT_TRUE(read.ok()) << read.status();
    const auto* back = std::get_if<decltype(rule)>(&read->optimizer.rule);
    ASSERT_NE(back, nullptr);
    hashes.insert(JobHash(job));
    for (const auto& field : rule.Fields()) {
      EXPECT_EQ(back->*field.value, rule.*field.value) << field.name;
      Job other = job;
      std::get<decltype(rule)>(other.optimizer.rule).*field.value = 0.75;
      EXPECT_TRUE(hashes.insert(JobHash(other)).second) << field.name;
    }
    const auto* message = v1::Optimizer::descriptor()->FindFieldByName(rule.kName)->message_type();
    EXPECT_EQ(message->field_count(), static_cast<int>(rule.Fields().size()));
  });
  EXPECT_EQ(static_cast<int>(kinds),
            v1::Optimizer::descriptor()->FindOneofByName("rule")->field_count());
}

// A default that is written out gives the same job.
TEST(JobCodecTest, DefaultsOfRulesAreTheSameJob) {
  const auto hash = [](const std::string& update) { return JobHash(ParsedUpdate(update)); };
  EXPECT_EQ(hash("optimizer { learning_rate: 1 adam {} }"),
            hash("optimizer { learning_rate: 1 adam { beta1: 0.9 beta2: 0.999 epsilon: 1e-8 } }"));
  EXPECT_EQ(hash("optimizer { learning_rate: 1 lamb {} }"),
            hash("optimizer { learning_rate: 1 lamb { beta1: 0.9 beta2: 0.999 epsilon: 1e-6"
                 " weight_decay: 0 max_weight_norm: 0 } }"));
  EXPECT_EQ(hash("optimizer { learning_rate: 1 lars {} }"),
            hash("optimizer { learning_rate: 1 lars { trust_coefficient: 1 weight_decay: 0 } }"));
  EXPECT_EQ(hash("optimizer { learning_rate: 1 sgd {} }"),
            hash("optimizer { learning_rate: 1 sgd {} } schedule { constant {} }"));
  EXPECT_EQ(hash("optimizer { learning_rate: 1 sgd {} }"),
            hash("optimizer { learning_rate: 1 sgd {} } schedule { linear_decay { floor: 0.5 } }"));
  EXPECT_EQ(hash("optimizer { learning_rate: 1 sgd {} }"),
            hash("optimizer { learning_rate: 1 sgd {} } schedule { warmup_steps: 0 }"));
}

// An explicit 0 is not an absent field: it means 0, or is rejected by name.
TEST(JobCodecTest, ExplicitZerosAreNotDefaults) {
  for (const char* beta : {"beta1", "beta2"}) {
    const auto with = [&](const std::string& value) {
      return ParsedUpdate("optimizer { learning_rate: 1 adam { " + std::string(beta) + value +
                          " } }");
    };
    const Job zero = with(": 0");
    const AdamRule& rule = std::get<AdamRule>(zero.optimizer.rule);
    EXPECT_EQ(std::string(beta) == "beta1" ? rule.beta1 : rule.beta2, 0);
    const Job back = *ParseJob(JobToText(zero), "text");
    EXPECT_EQ(JobHash(back), JobHash(zero));
    EXPECT_EQ(JobToText(back), JobToText(zero));
    EXPECT_NE(JobHash(zero), JobHash(with(": 0.9")));
    EXPECT_NE(JobHash(zero), JobHash(ParsedUpdate("optimizer { learning_rate: 1 adam {} }")));
    EXPECT_THAT(DecisiveDifferences(zero, with(": 0.5")),
                std::string("optimizer.adam.") + beta + ": 0 and 0.5");
  }
  v1::Job sgd = JobToProto(FullJob());
  sgd.mutable_optimizer()->mutable_sgd();
  using Change = std::function<void(v1::Job&)>;
  struct Row {
    std::string field;
    Change change;
  };
  for (const Row& row : std::vector<Row>{
           {"optimizer.adam.epsilon",
            [](v1::Job& j) {
              j.clear_momentum();
              j.mutable_optimizer()->mutable_adam()->set_epsilon(0);
            }},
           {"optimizer.lars.trust_coefficient",
            [](v1::Job& j) { j.mutable_optimizer()->mutable_lars()->set_trust_coefficient(0); }},
           {"model.dropout_keep_probability",
            [](v1::Job& j) { j.mutable_model()->set_dropout_keep_probability(0); }},
           {"checkpoint.keep",
            [](v1::Job& j) {
              j.mutable_checkpoint()->set_every_steps(1);
              j.mutable_checkpoint()->set_directory("/c");
              j.mutable_checkpoint()->set_keep(0);
            }},
       }) {
    v1::Job proto = sgd;
    row.change(proto);
    const std::string message(JobFromProto(proto).status().message());
    EXPECT_THAT(message, StartsWith("job: " + row.field + ": expected "));
    EXPECT_THAT(message, EndsWith("got 0"));
  }
  sgd.mutable_checkpoint()->set_every_steps(1);
  sgd.mutable_checkpoint()->set_directory("/c");
  EXPECT_EQ(JobFromProto(sgd)->checkpoint->max_kept, 2);
}

TEST(JobCodecTest, BuffersRoundTripAndAreDecisive) {
  Job job = FullJob();
  job.model.tensors[1].buffer = true;
  ASSERT_OK_AND_ASSIGN(const Job read, ParseJob(JobToText(job), "text"));
  EXPECT_FALSE(read.model.tensors[0].buffer);
  EXPECT_TRUE(read.model.tensors[1].buffer);
  EXPECT_EQ(JobHash(read), JobHash(job));
  EXPECT_EQ(DecisiveDifferences(job, FullJob()), "model.tensors[1].buffer: true and false");
}

TEST(JobCodecTest, ReadsDropout) {
  Job job = FullJob();
  job.model.dropout_keep_probability = 0.5;
  ASSERT_OK_AND_ASSIGN(const Job read, ParseJob(JobToText(job), "text"));
  EXPECT_EQ(read.model.dropout_keep_probability, 0.5);
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
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, StartsWith(row.says)))
        << row.text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("job.proto"));
  }
}

TEST(ParseJobTest, BadFieldsSayWhere) {
  const absl::Status status = ParseJob("name: 'a'", "job.txt").status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, StartsWith("job.txt: job: ")));
  v1::Job proto = JobToProto(FullJob());
  proto.mutable_optimizer()->clear_rule();
  EXPECT_EQ(
      std::string(JobFromProto(proto).status().message()),
      "job: optimizer: expected a rule, one of percent_delta, sgd, ada_grad, adam, lars, lamb, "
      "got none");
}

// Every job that is read is validated.
TEST(ParseJobTest, RejectsBadValues) {
  v1::Job proto = JobToProto(FullJob());
  proto.mutable_schedule()->mutable_linear_decay()->set_slope(-0.5);
  EXPECT_EQ(std::string(JobFromProto(proto).status().message()),
            "job: schedule.linear_decay.slope: expected 0 or a number in 1e-37..1e+37, got -0.5");
  Job job = FullJob();
  job.batch_size = 61;
  EXPECT_EQ(std::string(ParseJob(JobToText(job), "job.txt").status().message()),
            "job.txt: job: batch_size: expected 1..60, got 61");
}

TEST(LoadJobTest, UsesTheDefaultWithoutAPath) {
  ASSERT_OK_AND_ASSIGN(const Job job, LoadJob(""));
  EXPECT_EQ(JobHash(job), JobHash(DefaultJob()));
}

TEST(LoadJobTest, ReadsFiles) {
  const std::string path = testing::TempDir() + "job_codec_test_reads_files.textproto";
  std::ofstream(path) << JobToText(FullJob());
  ASSERT_OK_AND_ASSIGN(const Job job, LoadJob(path));
  EXPECT_EQ(JobHash(job), JobHash(FullJob()));
  std::ofstream(path) << "name: 'a'\nbroken";
  EXPECT_THAT(std::string(LoadJob(path).status().message()), StartsWith(path + ":2:"));
  std::remove(path.c_str());
}

TEST(JobCodecTest, AnyArithmeticThereAndBack) {
  Job job = FullJob();
  EXPECT_FALSE(job.any_arithmetic);
  EXPECT_EQ(JobToText(job).find("any_arithmetic"), std::string::npos);
  job.any_arithmetic = true;
  EXPECT_TRUE(ParseJob(JobToText(job), "text")->any_arithmetic);
}

// What has the promise of equal bits may be continued without it, not the other way round.
TEST(JobCodecTest, AnyArithmeticContinuesAnyCheckpoint) {
  const Job strict = FullJob();
  Job any = strict;
  any.any_arithmetic = true;
  EXPECT_EQ(DecisiveDifferences(any, any), "");
  EXPECT_EQ(DecisiveDifferences(any, strict), "");
  EXPECT_EQ(DecisiveDifferences(strict, any), "any_arithmetic: false and true");
}

}  // namespace
}  // namespace percentdelta
