// One suite for every update rule, momentum and schedule: a new rule is one more line at the end,
// and one more case of the reference.

#include "server/update/optimizer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/initial_weights.h"
#include "common/partition.h"
#include "tests/server/reference.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

constexpr uint64_t kSeed = 20170814;
constexpr int64_t kSteps = 50;
constexpr double kTolerance = 1e-5;  // of what: see RelativeError

template <typename T>
struct Named {
  std::string name;
  T value;
};

using Case = std::tuple<Named<UpdateRule>, Named<MomentumSpec>, Named<ScheduleSpec>>;

std::string Name(const Case& test_case) {
  return absl::StrCat(std::get<0>(test_case).name, std::get<1>(test_case).name,
                      std::get<2>(test_case).name);
}

// One tensor in one piece, as a shard keeps it.
struct Tensor {
  explicit Tensor(const Job& job, const TensorSpec& spec)
      : weights(spec.size()), velocity(spec.size()), next(spec.size()) {
    DrawInitialWeights(spec, job.seed, 0, absl::MakeSpan(weights));
  }

  void Step(const Job& job, const Optimizer& optimizer, int64_t step,
            const std::vector<float>& gradient) {
    std::vector<NormSums> blocks;
    for (size_t begin = 0; begin < gradient.size(); begin += kBlockEntries) {
      blocks.push_back(BlockNorms(absl::MakeConstSpan(gradient).subspan(begin, kBlockEntries),
                                  absl::MakeConstSpan(weights).subspan(begin, kBlockEntries),
                                  optimizer.epsilon()));
    }
    context = {job.optimizer.learning_rate * Decay(job.schedule, step), AddBlocks(blocks),
               static_cast<int64_t>(gradient.size())};
    UpdateEntries(optimizer, job.momentum, context, gradient, weights, absl::MakeSpan(velocity),
                  absl::MakeSpan(next));
    weights.swap(next);
  }

  std::vector<float> weights;
  std::vector<float> velocity;
  std::vector<float> next;
  TensorContext context;
};

class OptimizerTest : public testing::TestWithParam<Case> {
 protected:
  OptimizerTest() : trace_(__FILE__, __LINE__, absl::StrCat("seed ", kSeed)), job_(SmallJob()) {
    job_.optimizer.rule = std::get<0>(GetParam()).value;
    job_.momentum = std::get<1>(GetParam()).value;
    job_.schedule = std::get<2>(GetParam()).value;
    optimizer_ = MakeOptimizer(job_.optimizer.rule);
  }

  const testing::ScopedTrace trace_;
  Job job_;
  std::unique_ptr<Optimizer> optimizer_;
};

// RandomGradient brings zero entries and whole tensors of zeros in some steps; SmallJob a tensor of
// zeros and one of a single entry.
TEST_P(OptimizerTest, AgreesWithTheReference) {
  const ReferenceRule rule = ReferenceRuleOf(job_);
  for (size_t t = 0; t < job_.model.tensors.size(); ++t) {
    Tensor tensor(job_, job_.model.tensors[t]);
    ReferenceTensor reference(AsDoubles(tensor.weights));
    RelativeError error;
    for (int64_t step = 0; step < kSteps; ++step) {
      const std::vector<float> gradient = RandomGradient(job_.model, kSeed, step, 0)[t];
      tensor.Step(job_, *optimizer_, step, gradient);
      reference.Step(rule, step, {AsDoubles(gradient)});
      error.Compare(reference.weights(), tensor.weights);

      EXPECT_DOUBLE_EQ(tensor.context.rate, reference.last_rate());
      const double multiplier =
          optimizer_->Multiplier(tensor.context.norms, tensor.context.entries);
      EXPECT_NEAR(multiplier, reference.last_multiplier(),
                  kTolerance * reference.last_multiplier());
    }
    EXPECT_LE(error.worst(), kTolerance) << job_.model.tensors[t].name;
  }
}

// Of a slice, of a block, of a few entries: an entry's change does not depend on what is updated
// together with it.
TEST_P(OptimizerTest, DoesNotDependOnThePieces) {
  Tensor whole(job_, job_.model.tensors[kLarge]);
  Tensor pieces = whole;
  for (int64_t step = 0; step < 3; ++step) {
    const std::vector<float> gradient = RandomGradient(job_.model, kSeed, step, 0)[kLarge];
    whole.Step(job_, *optimizer_, step, gradient);
    size_t piece = 0;
    for (size_t begin = 0; begin < gradient.size(); begin += piece) {
      piece = 3 * piece + 1;
      UpdateEntries(*optimizer_, job_.momentum, whole.context,
                    absl::MakeConstSpan(gradient).subspan(begin, piece),
                    absl::MakeConstSpan(pieces.weights).subspan(begin, piece),
                    absl::MakeSpan(pieces.velocity).subspan(begin, piece),
                    absl::MakeSpan(pieces.next).subspan(begin, piece));
    }
    pieces.weights.swap(pieces.next);
    ASSERT_EQ(whole.weights, pieces.weights) << "step " << step;
  }
}

TEST_P(OptimizerTest, ZeroGradientAtFirstChangesNothing) {
  for (const TensorSpec& spec : job_.model.tensors) {
    Tensor tensor(job_, spec);
    const std::vector<float> before = tensor.weights;
    tensor.Step(job_, *optimizer_, 0, std::vector<float>(spec.size()));
    EXPECT_EQ(tensor.weights, before) << spec.name;
    EXPECT_EQ(optimizer_->Multiplier(tensor.context.norms, spec.size()), 0);
  }
}

TEST_P(OptimizerTest, DeltaIsRateTimesMultiplierTimesGradient) {
  const std::vector<float> gradient = {2, -4, 0, 1};
  const TensorContext context = {0.25, BlockNorms(gradient, {{1, -1, 2, 0.5}}, 1e-3), 4};
  std::vector<double> delta(4);
  optimizer_->Delta(context, gradient, absl::MakeSpan(delta));
  const double factor = context.rate * optimizer_->Multiplier(context.norms, context.entries);
  for (size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(delta[i], factor * gradient[i]);
}

INSTANTIATE_TEST_SUITE_P(
    Rules, OptimizerTest,
    testing::Combine(testing::Values(Named<UpdateRule>{"PercentDelta", PercentDeltaRule{1e-3}},
                                     Named<UpdateRule>{"Sgd", SgdRule{}}),
                     testing::Values(Named<MomentumSpec>{"NoMomentum", {}},
                                     Named<MomentumSpec>{"Damped", {0.9, 0.9}},
                                     Named<MomentumSpec>{"Undamped", {0.5, 0}},
                                     Named<MomentumSpec>{"DampenedOnly", {0, 0.5}}),
                     testing::Values(Named<ScheduleSpec>{"Constant", {}},
                                     Named<ScheduleSpec>{"Equation9", {0.03, 0}},
                                     Named<ScheduleSpec>{"Equation10", {0.05, 0.3}})),
    [](const auto& info) { return Name(info.param); });

// Equation 7 by hand: ratios 3/1, 1/2, 0/4, of three entries.
TEST(PercentDeltaTest, MultiplierIsTheInverseMeanRatio) {
  const auto optimizer = MakeOptimizer(PercentDeltaRule{1e-30});
  EXPECT_EQ(optimizer->epsilon(), 1e-30);
  const NormSums norms = BlockNorms({{3, 1, 0}}, {{1, -2, 4}}, optimizer->epsilon());
  EXPECT_DOUBLE_EQ(optimizer->Multiplier(norms, 3), 6.0 / 7.0);
  EXPECT_EQ(optimizer->Multiplier(NormSums(), 3), 0);
}

// Equation 8: a scalar changes by eta of its size, whatever its gradient's size.
TEST(PercentDeltaTest, ScalarChangesByItsPercentage) {
  const auto optimizer = MakeOptimizer(PercentDeltaRule{1e-30});
  for (const float gradient : {5.0F, 1e-20F, 1e30F}) {
    const std::vector<float> g = {gradient};
    const std::vector<float> w = {-2};
    const TensorContext context = {0.03, BlockNorms(g, w, optimizer->epsilon()), 1};
    std::vector<float> next(1);
    UpdateEntries(*optimizer, {}, context, g, w, {}, absl::MakeSpan(next));
    EXPECT_FLOAT_EQ(next[0], -2.06F) << gradient;
  }
}

TEST(SgdTest, MultiplierIsOne) {
  const auto optimizer = MakeOptimizer(SgdRule{});
  EXPECT_GT(optimizer->epsilon(), 0);
  EXPECT_EQ(optimizer->Multiplier(BlockNorms({{1e-30F, 0}}, {{1, 1}}, 1e-6), 2), 1);
  EXPECT_EQ(optimizer->Multiplier(NormSums(), 1), 0);
}

TEST(DecayTest, Table) {
  struct Row {
    ScheduleSpec schedule;
    int64_t step;
    double gamma;
  };
  const std::vector<Row> rows = {
      {{}, 0, 1},
      {{}, 1000000, 1},
      {{0.25, 0}, 0, 1},
      {{0.25, 0}, 3, 0.25},
      {{0.25, 0}, 4, 0},
      {{0.25, 0}, 5, 0},  // never below 0
      {{0.25, 0.125}, 2, 0.5},
      {{0.25, 0.125}, 4, 0.125},
      {{0.25, 0.125}, int64_t{1} << 40, 0.125},
      {{0, 1}, 7, 1},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(Decay(row.schedule, row.step), row.gamma)
        << row.schedule.slope << " " << row.schedule.floor << " " << row.step;
  }
}

}  // namespace
}  // namespace percentdelta
