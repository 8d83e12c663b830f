#include "common/job_validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/common/full_job.h"

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
  const auto rule = [](UpdateRule r) { return [r](Job& job) { job.optimizer.rule = r; }; };
  const auto decay = [](decltype(ScheduleSpec::decay) d) {
    return [d](Job& job) { job.schedule.decay = d; };
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
      {rule(AdaGradRule{-1, 0}), "optimizer.ada_grad.initial_accumulator", "at least 0", "-1"},
      {rule(AdaGradRule{inf, 0}), "optimizer.ada_grad.initial_accumulator", "at least 0", "inf"},
      {rule(AdaGradRule{0, -1}), "optimizer.ada_grad.epsilon", "at least 0", "-1"},
      {rule(AdaGradRule{0, nan}), "optimizer.ada_grad.epsilon", "at least 0", "nan"},
      {rule(AdamRule{1}), "optimizer.adam.beta1", "in (0, 1)", "1"},
      {rule(AdamRule{-0.5}), "optimizer.adam.beta1", "in (0, 1)", "-0.5"},
      {rule(AdamRule{0.9, 1}), "optimizer.adam.beta2", "in (0, 1)", "1"},
      {rule(AdamRule{0.9, nan}), "optimizer.adam.beta2", "in (0, 1)", "nan"},
      {rule(AdamRule{0.9, 0.999, -1}), "optimizer.adam.epsilon", "a positive number", "-1"},
      {rule(LarsRule{-1, 0}), "optimizer.lars.trust_coefficient", "a positive number", "-1"},
      {rule(LarsRule{inf, 0}), "optimizer.lars.trust_coefficient", "a positive number", "inf"},
      {rule(LarsRule{1, -1}), "optimizer.lars.weight_decay", "at least 0", "-1"},
      {decay(LinearDecay{-0.5, 0}), "schedule.linear_decay.slope", "at least 0", "-0.5"},
      {decay(LinearDecay{0, 1.5}), "schedule.linear_decay.floor", "in 0..1", "1.5"},
      {decay(LinearDecay{0, nan}), "schedule.linear_decay.floor", "in 0..1", "nan"},
      {decay(StepDecay{0, 0.5}), "schedule.step_decay.every_steps", "at least 1", "0"},
      {decay(StepDecay{1, 0}), "schedule.step_decay.factor", "in (0, 1]", "0"},
      {decay(StepDecay{1, 1.5}), "schedule.step_decay.factor", "in (0, 1]", "1.5"},
      {decay(CosineDecay{0, 0}), "schedule.cosine.steps", "at least 1", "0"},
      {decay(CosineDecay{1, -0.5}), "schedule.cosine.floor", "in 0..1", "-0.5"},
      {decay(CosineDecay{1, nan}), "schedule.cosine.floor", "in 0..1", "nan"},
      {[](Job& j) { j.schedule.warmup_steps = -1; }, "schedule.warmup_steps", "at least 0", "-1"},
      {[](Job& j) { j.gradient_clipping = GradientClippingSpec{0}; }, "gradient_clipping.norm",
       "a positive number", "0"},
      {[=](Job& j) { j.gradient_clipping = GradientClippingSpec{inf}; }, "gradient_clipping.norm",
       "a positive number", "inf"},
      {[](Job& j) { j.weight_decay = WeightDecaySpec{0}; }, "weight_decay.rate",
       "a positive number", "0"},
      {[=](Job& j) { j.weight_decay = WeightDecaySpec{nan}; }, "weight_decay.rate",
       "a positive number", "nan"},
      {[](Job& j) { j.model.dropout_keep_probability = 1.5; }, "model.dropout_keep_probability",
       "in 0..1", "1.5"},
      {[=](Job& j) { j.model.dropout_keep_probability = nan; }, "model.dropout_keep_probability",
       "in 0..1", "nan"},
      {rule(AdamRule{}), "momentum", "none with ada_grad and adam",
       "coefficient 0.9, dampening 0.8"},
      {rule(AdaGradRule{}), "momentum", "none with ada_grad and adam",
       "coefficient 0.9, dampening 0.8"},
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
  job.optimizer.rule = LarsRule{};
  EXPECT_THAT(JobWarnings(job), ElementsAre(AllOf(HasSubstr("starts at zero: LARS moves"),
                                                  HasSubstr("will stay there"))));
  for (const UpdateRule& rule : {UpdateRule(SgdRule{}), UpdateRule(AdamRule{})}) {
    job.optimizer.rule = rule;
    EXPECT_THAT(JobWarnings(job), IsEmpty());
  }
}

// What each rule and stage may be, at the ends of its range.
TEST(ValidateJobTest, TakesTheEndsOfEveryRange) {
  for (const Change& change : std::vector<Change>{
           [](Job& j) {
             j.optimizer.rule = AdaGradRule{0, 0};
             j.momentum = {};
           },
           [](Job& j) {
             j.optimizer.rule = AdamRule{1e-9, 1 - 1e-9, 1e-30};
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
       }) {
    Job job = FullJob();
    change(job);
    EXPECT_TRUE(ValidateJob(job).ok()) << ValidateJob(job);
  }
}

}  // namespace
}  // namespace percentdelta
