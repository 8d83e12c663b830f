// SPDX-License-Identifier: Apache-2.0

#include "tests/server/update/update_cases.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/job/initial_weights.h"
#include "common/job/job_validation.h"
#include "common/job/partition.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

struct NamedRule {
  std::string name;
  UpdateRule rule;
};

std::vector<NamedRule> Rules() {
  return {{"PercentDelta", PercentDeltaRule{1e-3}},
          {"Sgd", SgdRule{}},
          {"AdaGrad", AdaGradRule{}},
          {"AdaGradFromATenth", AdaGradRule{0.1, 1e-7}},
          {"Adam", AdamRule{}},
          {"AdamOfShortMemory", AdamRule{0.5, 0.75, 1e-3}},
          {"Lars", LarsRule{}},
          {"LarsWithDecay", LarsRule{0.5, 0.01}},
          {"Lamb", LambRule{}},
          {"LambWithDecayAndMaximum", LambRule{0.5, 0.75, 1e-3, 0.01, 0.5}}};
}

struct NamedStages {
  std::string name;
  MomentumSpec momentum;
  double clipping_norm = 0;  // 0: none
  double decay_rate = 0;     // 0: none
  ScheduleSpec schedule;
};

// Gradients of the large tensor are some 100 long, of the small ones some 1: a norm of 3 clips
// some.
std::vector<NamedStages> Stages() {
  return {{"Plain", {}, 0, 0, {}},
          {"Damped", {0.9, 0.9}, 0, 0, {LinearDecay{0.03, 0}}},
          {"Undamped", {0.5, 0}, 0, 0, {LinearDecay{0.05, 0.3}}},
          {"DampenedOnly", {0, 0.5}, 0, 0, {StepDecay{7, 0.5}}},
          {"Nesterov", {0.9, 0.9, true}, 0, 0, {CosineDecay{40, 0.1}}},
          {"Clipped", {}, 3, 0, {ConstantRate{}, 10}},
          {"Decayed", {}, 0, 0.1, {LinearDecay{0.03, 0}}},
          {"ClippedAndDecayed", {}, 3, 0.1, {CosineDecay{60, 0}, 5}},
          {"Together", {0.9, 0.8}, 3, 0.1, {StepDecay{10, 0.3}, 5}},
          {"TogetherNesterov", {0.5, 0.25, true}, 3, 0.1, {LinearDecay{0.01, 0.2}, 3}}};
}

std::vector<float> InitialWeights(const Job& job, const TensorSpec& spec) {
  std::vector<float> weights(spec.size());
  DrawInitialWeights(spec, job.seed, 0, absl::MakeSpan(weights));
  return weights;
}

}  // namespace

void PrintTo(const UpdateCase& update_case, std::ostream* out) { *out << update_case.name; }

std::vector<UpdateCase> UpdateCases() {
  std::vector<UpdateCase> cases;
  for (const NamedRule& rule : Rules()) {
    for (const NamedStages& stages : Stages()) {
      Job job = SmallJob();
      job.gradients_per_step = 1;
      job.optimizer.rule = rule.rule;
      job.momentum = stages.momentum;
      job.schedule = stages.schedule;
      if (stages.clipping_norm > 0) job.gradient_clipping = {stages.clipping_norm};
      if (stages.decay_rate > 0) job.weight_decay = {stages.decay_rate};
      if (!ValidateJob(job).ok()) continue;
      cases.push_back({absl::StrCat(rule.name, stages.name), job});
    }
  }
  return cases;
}

UpdatedTensor::UpdatedTensor(const Job& job, const TensorSpec& spec)
    : UpdatedTensor(job, InitialWeights(job, spec)) {}

UpdatedTensor::UpdatedTensor(const Job& job, std::vector<float> weights)
    : weights(std::move(weights)),
      state(StateNames(job).size(), std::vector<float>(this->weights.size())),
      next(this->weights.size()) {}

double UpdatedTensor::Update(const Job& job, const Optimizer& optimizer,
                             const std::vector<float>& gradient, int64_t begin, int64_t count) {
  return UpdateEntries(optimizer, job, context, absl::MakeConstSpan(gradient).subspan(begin, count),
                       absl::MakeConstSpan(weights).subspan(begin, count),
                       StateRange(absl::MakeSpan(state), begin, count),
                       absl::MakeSpan(next).subspan(begin, count));
}

void UpdatedTensor::Reduce(const Job& job, const Optimizer& optimizer, int64_t step,
                           const std::vector<float>& gradient) {
  std::vector<NormSums> blocks;
  for (int64_t begin = 0; begin < size(); begin += kBlockEntries) {
    blocks.push_back(BlockNorms(absl::MakeConstSpan(gradient).subspan(begin, kBlockEntries),
                                absl::MakeConstSpan(weights).subspan(begin, kBlockEntries),
                                optimizer.epsilon()));
  }
  norms = AddBlocks(blocks);
  context = MakeTensorContext(job, step, size(), norms);
  for (int64_t begin = 0; optimizer.needs_delta_norms() && begin < size(); begin += kBlockEntries) {
    const int64_t count = std::min(kBlockEntries, size() - begin);
    context.delta_norms +=
        ProposedNorms(optimizer, context, absl::MakeConstSpan(gradient).subspan(begin, count),
                      absl::MakeConstSpan(weights).subspan(begin, count),
                      StateRange(absl::MakeSpan(state), begin, count));
  }
}

void UpdatedTensor::Step(const Job& job, const Optimizer& optimizer, int64_t step,
                         const std::vector<float>& gradient) {
  Reduce(job, optimizer, step, gradient);
  delta_l1 = 0;
  for (int64_t begin = 0; begin < size(); begin += kBlockEntries) {
    delta_l1 += Update(job, optimizer, gradient, begin, std::min(kBlockEntries, size() - begin));
  }
  if (optimizer.needs_delta_norms()) {
    delta_l1 = optimizer.Factor(context) * context.delta_norms.l1;
  }
  weights.swap(next);
}

}  // namespace percentdelta
