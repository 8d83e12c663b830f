#include <cstdint>
#include <limits>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/job/job.h"
#include "common/job/job_checks.h"

namespace percentdelta {
namespace {

constexpr int64_t kMaxSteps = std::numeric_limits<int32_t>::max();

absl::Status Validate(const PercentDeltaRule& rule) {
  return CheckPositive("optimizer.percent_delta.epsilon", rule.epsilon);
}

absl::Status Validate(const SgdRule& /*rule*/) { return absl::OkStatus(); }

absl::Status Validate(const AdaGradRule& rule) {
  return FirstError(
      {CheckNotNegative("optimizer.ada_grad.initial_accumulator", rule.initial_accumulator),
       CheckNotNegative("optimizer.ada_grad.epsilon", rule.epsilon)});
}

absl::Status Validate(const AdamRule& rule) {
  return FirstError({CheckBelowOne("optimizer.adam.beta1", rule.beta1),
                     CheckBelowOne("optimizer.adam.beta2", rule.beta2),
                     CheckPositive("optimizer.adam.epsilon", rule.epsilon)});
}

absl::Status Validate(const LarsRule& rule) {
  return FirstError({CheckPositive("optimizer.lars.trust_coefficient", rule.trust_coefficient),
                     CheckNotNegative("optimizer.lars.weight_decay", rule.weight_decay)});
}

absl::Status Validate(const ConstantRate& /*decay*/) { return absl::OkStatus(); }

absl::Status Validate(const LinearDecay& decay) {
  return FirstError({CheckNotNegative("schedule.linear_decay.slope", decay.slope),
                     CheckNotNegative("schedule.linear_decay.floor", decay.floor, 1)});
}

absl::Status Validate(const StepDecay& decay) {
  return FirstError(
      {CheckInteger("schedule.step_decay.every_steps", decay.every_steps, 1, kMaxSteps),
       CheckPositive("schedule.step_decay.factor", decay.factor, 1)});
}

absl::Status Validate(const CosineDecay& decay) {
  return FirstError({CheckInteger("schedule.cosine.steps", decay.steps, 1, kMaxSteps),
                     CheckNotNegative("schedule.cosine.floor", decay.floor, 1)});
}

absl::Status Validate(const MomentumSpec& momentum, const UpdateRule& rule) {
  RETURN_IF_ERROR(FirstError({CheckBelowOne("momentum.coefficient", momentum.coefficient),
                              CheckBelowOne("momentum.dampening", momentum.dampening)}));
  const bool accumulates =
      std::holds_alternative<AdaGradRule>(rule) || std::holds_alternative<AdamRule>(rule);
  if (momentum.any() && accumulates) {
    return InvalidField(
        "momentum", "none with ada_grad and adam, which scale every entry by its own past",
        absl::StrCat("coefficient ", momentum.coefficient, ", dampening ", momentum.dampening));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateUpdate(const Job& job) {
  const auto validate = [](const auto& spec) { return Validate(spec); };
  const auto norm = [&] {
    return CheckPositive("gradient_clipping.norm", job.gradient_clipping->norm);
  };
  const auto rate = [&] { return CheckPositive("weight_decay.rate", job.weight_decay->rate); };
  return FirstError(
      {CheckPositive("optimizer.learning_rate", job.optimizer.learning_rate),
       std::visit(validate, job.optimizer.rule), std::visit(validate, job.schedule.decay),
       CheckInteger("schedule.warmup_steps", job.schedule.warmup_steps, 0, kMaxSteps),
       job.gradient_clipping ? norm() : absl::OkStatus(),
       job.weight_decay ? rate() : absl::OkStatus(), Validate(job.momentum, job.optimizer.rule)});
}

}  // namespace percentdelta
