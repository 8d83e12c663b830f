// SPDX-License-Identifier: Apache-2.0

#include <cstdint>
#include <limits>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/job/job.h"
#include "common/job/job_checks.h"

namespace percentdelta {
namespace {

constexpr int64_t kMaxSteps = std::numeric_limits<int32_t>::max();

absl::Status CheckRange(absl::string_view field, double value, NumberRange range) {
  switch (range) {
    case NumberRange::kPositive:
      return CheckPositive(field, value);
    case NumberRange::kNotNegative:
      return CheckNotNegative(field, value);
    case NumberRange::kBelowOne:
      return CheckBelowOne(field, value);
  }
  return absl::OkStatus();  // not reached
}

// Checks every field of a rule by its range.
template <typename Rule>
absl::Status ValidateRule(const Rule& rule) {
  for (const auto& field : Rule::Fields()) {
    RETURN_IF_ERROR(CheckRange(absl::StrCat("optimizer.", Rule::kName, ".", field.name),
                               rule.*field.value, field.range));
  }
  return absl::OkStatus();
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
  RETURN_IF_ERROR(CheckBelowOne("momentum.coefficient", momentum.coefficient));
  RETURN_IF_ERROR(CheckBelowOne("momentum.dampening", momentum.dampening));
  if (!momentum.any()) return absl::OkStatus();
  return std::visit(
      [&](const auto& kind) {
        if (kind.kTakesMomentum) return absl::OkStatus();
        return InvalidField(
            "momentum",
            absl::StrCat("none with ", kind.kName, ", which scales every entry by its own past"),
            absl::StrCat("coefficient ", momentum.coefficient, ", dampening ", momentum.dampening));
      },
      rule);
}

absl::Status Validate(const WeightDecaySpec& decay, const UpdateRule& rule) {
  RETURN_IF_ERROR(CheckPositive("weight_decay.rate", decay.rate));
  const auto* lamb = std::get_if<LambRule>(&rule);
  if (lamb == nullptr || lamb->weight_decay == 0) return absl::OkStatus();
  return InvalidField("weight_decay",
                      "none besides optimizer.lamb.weight_decay, which decays the same weights",
                      absl::StrCat("rates ", decay.rate, " and ", lamb->weight_decay));
}

}  // namespace

absl::Status ValidateUpdate(const Job& job) {
  const auto validate = [](const auto& spec) { return Validate(spec); };
  const auto norm = [&] {
    return CheckPositive("gradient_clipping.norm", job.gradient_clipping->norm);
  };
  return FirstError(
      {CheckPositive("optimizer.learning_rate", job.optimizer.learning_rate),
       std::visit([](const auto& rule) { return ValidateRule(rule); }, job.optimizer.rule),
       std::visit(validate, job.schedule.decay),
       CheckInteger("schedule.warmup_steps", job.schedule.warmup_steps, 0, kMaxSteps),
       job.gradient_clipping ? norm() : absl::OkStatus(),
       job.weight_decay ? Validate(*job.weight_decay, job.optimizer.rule) : absl::OkStatus(),
       Validate(job.momentum, job.optimizer.rule)});
}

}  // namespace percentdelta
