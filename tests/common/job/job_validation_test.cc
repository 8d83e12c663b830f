// SPDX-License-Identifier: Apache-2.0

#include "common/job/job_validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/common/job/full_job.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

using Change = std::function<void(Job&)>;

struct Bad {
  Change change;
  std::string field;
  std::string expected;
  std::string got;
};

TEST(ValidateJobTest, EveryBadFieldIsNamed) {
  const std::string tensor = "model.tensors \"a/w\"";
  const auto shape = [](const std::vector<int64_t>& s) {
    return [s](Job& job) { job.model.tensors[0].shape = s; };
  };
  const auto name = [](const std::string& n) {
    return [n](Job& job) { job.model.tensors[0].name = n; };
  };
  const auto decay = [](decltype(ScheduleSpec::decay) d) {
    return [d](Job& job) { job.schedule.decay = d; };
  };
  const int64_t huge = int64_t{1} << 35;
  std::vector<Bad> table = {
      {[](Job& j) { j.name = ""; }, "name", "a name", "none"},
      {[](Job& j) { j.model.architecture = ""; }, "model.architecture", "a name", "none"},
      {[](Job& j) { j.model.tensors.clear(); }, "model.tensors", "at least one tensor", "none"},
      {[](Job& j) {
         for (TensorSpec& tensor : j.model.tensors) tensor.buffer = true;
       },
       "model.tensors", "at least one tensor that is trained", "only buffers"},
      {name(""), "model.tensors name", "a name", "none"},
      {name("a/b"), "model.tensors", "different names", "a/b twice"},
      {name("a b"), "model.tensors name", "without blanks, quotes", "\"a b\""},
      {name("a\x7f"), "model.tensors name", "printable", "\"a\\x7f\""},
      {name("a\nb"), "model.tensors name", "printable", "\"a\\nb\""},
      {name("a\"b"), "model.tensors name", "without blanks, quotes", "\"a\"b\""},
      {name("\xc3\xa9"), "model.tensors name", "ASCII", "\"\xc3\xa9\""},
      {name(std::string(1 << 20, 'a')), "model.tensors name", "at most 256 bytes",
       "1048576 bytes: \"" + std::string(77, 'a') + "...\""},
      {[](Job& j) { j.name = "two\nlines"; }, "name", "on one line", "\"two\\nlines\""},
      {[](Job& j) { j.name = "\x1b[31m"; }, "name", "on one line", "\"\\x1b[31m\""},
      {[](Job& j) { j.name = "\xff"; }, "name", "printable UTF-8", "\"\\xff\""},
      {[](Job& j) { j.name = "  "; }, "name", "a name", "blanks"},
      {[](Job& j) { j.name = std::string(257, 'a'); }, "name", "at most 256 bytes",
       "257 bytes: \"" + std::string(77, 'a') + "...\""},
      {[](Job& j) { j.model.architecture = "a b"; }, "model.architecture", "without blanks",
       "\"a b\""},
      {[](Job& j) { j.model.architecture = std::string("a\0b", 3); }, "model.architecture",
       "printable", "\"a\\x00b\""},
      {[](Job& j) { j.model.tensors.resize(10001); }, "model.tensors", "at most 10000 tensors",
       "10001"},
      {shape(std::vector<int64_t>(33, 1)), tensor + " shape", "at most 32 dimensions", "33"},
      {shape({3, 0}), tensor + " shape", "dimensions of at least 1", "0"},
      {shape({-3}), tensor + " shape", "dimensions of at least 1", "-3"},
      {shape({huge, 2}), tensor + " shape", "at most 34359738368 entries", "[34359738368, 2]"},
      {shape({huge, huge, huge}), tensor + " shape", "at most 34359738368 entries",
       "[34359738368, 34359738368, 34359738368]"},
      {shape({int64_t{1} << 62, 4}), tensor + " shape", "at most 34359738368 entries",
       "[4611686018427387904, 4]"},
      {shape({huge}), "model.tensors", "at most 34359738368 entries in the model",
       "34359738369 up to \"a/b\""},
      {[](Job& j) {
         j.momentum = {};
         j.optimizer.rule = LambRule{.weight_decay = 0.25};
         j.weight_decay = WeightDecaySpec{0.5};
       },
       "weight_decay", "none besides optimizer.lamb.weight_decay, which decays the same weights",
       "rates 0.5 and 0.25"},
      {[](Job& j) { j.gradients_per_step = 0; }, "gradients_per_step", "1..1024", "0"},
      {[](Job& j) { j.gradients_per_step = 1025; }, "gradients_per_step", "1..1024", "1025"},
      {[](Job& j) { j.max_steps = 0; }, "max_steps", "1..2147483647", "0"},
      {[](Job& j) { j.max_steps = 1LL << 31; }, "max_steps", "1..2147483647", "2147483648"},
      {[](Job& j) { j.batch_size = 0; }, "batch_size", "1..60", "0"},
      {[](Job& j) { j.batch_size = 61; }, "batch_size", "1..60", "61"},
      {[](Job& j) { j.evaluation->every_steps = 0; }, "evaluation.every_steps", "1..2147483647",
       "0"},
      {[](Job& j) { j.evaluation->every_steps = int64_t{1} << 62; }, "evaluation.every_steps",
       "1..2147483647", "4611686018427387904"},
      {[](Job& j) { j.schedule.warmup_steps = -1; }, "schedule.warmup_steps", "0..2147483647",
       "-1"},
      {[](Job& j) { j.schedule.warmup_steps = int64_t{1} << 62; }, "schedule.warmup_steps",
       "0..2147483647", "4611686018427387904"},
      {decay(StepDecay{0, 0.5}), "schedule.step_decay.every_steps", "1..2147483647", "0"},
      {decay(StepDecay{int64_t{1} << 31, 0.5}), "schedule.step_decay.every_steps", "1..2147483647",
       "2147483648"},
      {decay(CosineDecay{0, 0}), "schedule.cosine.steps", "1..2147483647", "0"},
      {[](Job& j) {
         j.data.training_examples = int64_t{1} << 40;
         j.batch_size = (1 << 24) + 1;
       },
       "batch_size", "1..16777216", "16777217"},
      {[](Job& j) {
         j.data.test_examples = int64_t{1} << 40;
         j.evaluation->batch_size = (1 << 24) + 1;
       },
       "evaluation.batch_size", "1..16777216", "16777217"},
      {[](Job& j) {
         j.evaluation.reset();
         j.data.test_examples = -1;
       },
       "data.test_examples", "0..1099511627776", "-1"},
      {[](Job& j) {
         j.checkpoint = CheckpointSpec{0, "/c"};
       },
       "checkpoint.every_steps", "1..2147483647", "0"},
      {[](Job& j) {
         j.checkpoint = CheckpointSpec{1, "/c", 0};
       },
       "checkpoint.keep", "1..1000", "0"},
      {[](Job& j) {
         j.checkpoint = CheckpointSpec{1, "/c", 1001};
       },
       "checkpoint.keep", "1..1000", "1001"},
      {[](Job& j) { j.evaluation->batch_size = 0; }, "evaluation.batch_size", "1..40", "0"},
      {[](Job& j) { j.evaluation->batch_size = 41; }, "evaluation.batch_size", "1..40", "41"},
      {[](Job& j) { j.data.training_examples = 0; }, "data.training_examples", "1..1099511627776",
       "0"},
      {[](Job& j) { j.data.test_examples = 0; }, "data.test_examples", "1..1099511627776", "0"},
      {[](Job& j) { j.data.test_examples = int64_t{1} << 41; }, "data.test_examples",
       "0..1099511627776", "2199023255552"},
      {[](Job& j) { j.data.test_examples = int64_t{1} << 40; }, "evaluation.batch_size",
       "at most 1048576 batches", "20"},
  };
  ForEachRule([&](auto kind) {
    if (kind.kTakesMomentum) return;
    table.push_back(
        {[kind](Job& job) { job.optimizer.rule = kind; }, "momentum",
         "none with " + std::string(kind.kName) + ", which scales every entry by its own past",
         "coefficient 0.9, dampening 0.8"});
  });
  EXPECT_OK(ValidateJob(FullJob()));
  for (const Bad& bad : table) {
    Job job = FullJob();
    bad.change(job);
    const absl::Status status = ValidateJob(job);
    SCOPED_TRACE(bad.field + ", " + bad.got);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    const std::string message(status.message());
    EXPECT_THAT(message, StartsWith("job: " + bad.field));
    EXPECT_THAT(message, HasSubstr(bad.expected));
    EXPECT_THAT(message, EndsWith("got " + bad.got));
  }
}

TEST(ValidateJobTest, RejectsDirectoriesThatDependOnTheMachine) {
  const auto check = [](const std::string& directory) {
    Job job = FullJob();
    job.checkpoint = CheckpointSpec{10, directory};
    return ValidateJob(job);
  };
  struct Bad {
    std::string directory;
    std::string expected;
    std::string got;
  };
  for (const Bad& bad : std::vector<Bad>{
           {"", "a path", "none"},
           {" ", "a path", "blanks"},
           {"~", "absolute path", "\"~\""},
           {"~/ckpt", "absolute path", "\"~/ckpt\""},
           {"~user/ckpt", "absolute path", "\"~user/ckpt\""},
           {"$HOME/ckpt", "absolute path", "\"$HOME/ckpt\""},
           {"/data/${USER}/ckpt", "absolute path", "\"/data/${USER}/ckpt\""},
           {"/data/$(whoami)", "absolute path", "\"/data/$(whoami)\""},
           {"s3://bucket/ckpt", "not a URL", "\"s3://bucket/ckpt\""},
           {"file:///ckpt", "not a URL", "\"file:///ckpt\""},
           {"/a\nb", "on one line", "\"/a\\nb\""},
           {std::string("/a\0b", 4), "on one line", "\"/a\\x00b\""},
           {"/\xff", "UTF-8", "\"/\\xff\""},
           {"/" + std::string(5000, 'a'), "at most 4000 bytes",
            "5001 bytes: \"/" + std::string(76, 'a') + "...\""},
       }) {
    const absl::Status status = check(bad.directory);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                 AllOf(StartsWith("job: checkpoint.directory: expected "),
                                       HasSubstr(bad.expected), EndsWith("got " + bad.got))));
  }
  for (const std::string good :
       {"/ckpt", "ckpt", "../a b", "/a~", "/a/~", "/price-5$", "/$5", "/\xc3\xa9t\xc3\xa9"}) {
    EXPECT_OK(check(good));
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
  job.optimizer.rule = LarsRule{};
  EXPECT_THAT(JobWarnings(job), ElementsAre(AllOf(HasSubstr("starts at zero: LARS moves"),
                                                  HasSubstr("will stay there"))));
  for (const UpdateRule& rule : {UpdateRule(SgdRule{}), UpdateRule(AdamRule{})}) {
    job.optimizer.rule = rule;
    EXPECT_THAT(JobWarnings(job), IsEmpty());
  }
  // A buffer takes whatever value is pushed.
  job.model.tensors.back().buffer = true;
  for (const UpdateRule& rule : {UpdateRule(PercentDeltaRule{1e-3}), UpdateRule(LarsRule{})}) {
    job.optimizer.rule = rule;
    EXPECT_THAT(JobWarnings(job), IsEmpty());
  }
}

// Every field of the rules and stages, at the ends of its range.
TEST(ValidateJobTest, AcceptsTheEndsOfEveryRange) {
  for (const Change& change : std::vector<Change>{
           [](Job& j) {
             j.optimizer.rule = AdaGradRule{0, 0};
             j.momentum = {};
           },
           [](Job& j) {
             j.optimizer.rule = AdamRule{0, 0, 1e-30};
             j.momentum = {};
           },
           [](Job& j) {
             j.optimizer.rule = LarsRule{1e-3, 0};
           },
           [](Job& j) {
             j.schedule.decay = StepDecay{1, 1};
           },
           [](Job& j) {
             j.schedule.decay = CosineDecay{1, 1};
           },
           [](Job& j) { j.schedule.warmup_steps = 1000000; },
           [](Job& j) {
             j.momentum = {0.9, 0, true};
           },
           [](Job& j) { j.gradient_clipping = GradientClippingSpec{1e-9}; },
           [](Job& j) { j.weight_decay = WeightDecaySpec{1e-9}; },
           [](Job& j) { j.model.dropout_keep_probability = 1; },
           [](Job& j) { j.name = std::string(256, 'a'); },
           [](Job& j) {
             j.name =
                 "Zahlen, \xc3\xbc"
                 "berpr\xc3\xbc"
                 "ft";
           },
           [](Job& j) { j.model.tensors[0].shape = std::vector<int64_t>(32, 1); },
           [](Job& j) {
             j.model.tensors[0].shape = {int64_t{1} << 18, 1 << 16};
           },
           [](Job& j) {
             j.checkpoint = CheckpointSpec{2147483647, "c", 1000};
           },
       }) {
    Job job = FullJob();
    change(job);
    EXPECT_OK(ValidateJob(job));
  }
}

}  // namespace
}  // namespace percentdelta
