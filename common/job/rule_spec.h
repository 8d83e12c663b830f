// SPDX-License-Identifier: Apache-2.0

// The update rules that a job may name, as plain data. A rule is a struct of numbers that describes
// itself: its name, its fields and their ranges. Reading, writing, checking and showing a job
// (rule_codec.h, job_update_validation.cc) follow from that description. Formulas are in
// proto/percentdelta/v1/job.proto, arithmetic in server/update/.

#ifndef PERCENTDELTA_COMMON_JOB_RULE_SPEC_H_
#define PERCENTDELTA_COMMON_JOB_RULE_SPEC_H_

#include <array>
#include <cstddef>
#include <utility>
#include <variant>

namespace percentdelta {

// Which numbers a field takes; the limits of float are in job_checks.h.
enum class NumberRange { kPositive, kNotNegative, kBelowOne };

// A number of a rule.
template <typename Rule>
struct RuleField {
  const char* name;  // in the rule's message in job.proto, where it is a double
  double Rule::*value;
  NumberRange range;
};

// Each rule has
//   kName          the field of v1::Optimizer.rule
//   kTitle         what people call it
//   kTakesMomentum whether the job may have momentum besides
//   Fields()       all its numbers; the initializers are what absent fields mean

struct PercentDeltaRule {
  double epsilon = 0;

  static constexpr char kName[] = "percent_delta";
  static constexpr char kTitle[] = "PercentDelta";
  static constexpr bool kTakesMomentum = true;
  static constexpr auto Fields() {
    return std::array{
        RuleField<PercentDeltaRule>{"epsilon", &PercentDeltaRule::epsilon, NumberRange::kPositive}};
  }
};

struct SgdRule {
  static constexpr char kName[] = "sgd";
  static constexpr char kTitle[] = "SGD";
  static constexpr bool kTakesMomentum = true;
  static constexpr auto Fields() { return std::array<RuleField<SgdRule>, 0>{}; }
};

struct AdaGradRule {
  double initial_accumulator = 0;
  double epsilon = 0;

  static constexpr char kName[] = "ada_grad";
  static constexpr char kTitle[] = "AdaGrad";
  static constexpr bool kTakesMomentum = false;
  static constexpr auto Fields() {
    using Field = RuleField<AdaGradRule>;
    return std::array{
        Field{"initial_accumulator", &AdaGradRule::initial_accumulator, NumberRange::kNotNegative},
        Field{"epsilon", &AdaGradRule::epsilon, NumberRange::kNotNegative}};
  }
};

struct AdamRule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;

  static constexpr char kName[] = "adam";
  static constexpr char kTitle[] = "Adam";
  static constexpr bool kTakesMomentum = false;
  static constexpr auto Fields() {
    using Field = RuleField<AdamRule>;
    return std::array{Field{"beta1", &AdamRule::beta1, NumberRange::kBelowOne},
                      Field{"beta2", &AdamRule::beta2, NumberRange::kBelowOne},
                      Field{"epsilon", &AdamRule::epsilon, NumberRange::kPositive}};
  }
};

struct LarsRule {
  double trust_coefficient = 1;
  double weight_decay = 0;

  static constexpr char kName[] = "lars";
  static constexpr char kTitle[] = "LARS";
  static constexpr bool kTakesMomentum = true;
  static constexpr auto Fields() {
    using Field = RuleField<LarsRule>;
    return std::array{
        Field{"trust_coefficient", &LarsRule::trust_coefficient, NumberRange::kPositive},
        Field{"weight_decay", &LarsRule::weight_decay, NumberRange::kNotNegative}};
  }
};

struct LambRule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-6;
  double weight_decay = 0;
  double max_weight_norm = 0;  // 0: no maximum

  static constexpr char kName[] = "lamb";
  static constexpr char kTitle[] = "LAMB";
  static constexpr bool kTakesMomentum = false;
  static constexpr auto Fields() {
    using Field = RuleField<LambRule>;
    return std::array{
        Field{"beta1", &LambRule::beta1, NumberRange::kBelowOne},
        Field{"beta2", &LambRule::beta2, NumberRange::kBelowOne},
        Field{"epsilon", &LambRule::epsilon, NumberRange::kPositive},
        Field{"weight_decay", &LambRule::weight_decay, NumberRange::kNotNegative},
        Field{"max_weight_norm", &LambRule::max_weight_norm, NumberRange::kNotNegative}};
  }
};

using UpdateRule =
    std::variant<PercentDeltaRule, SgdRule, AdaGradRule, AdamRule, LarsRule, LambRule>;

// Calls `visit` with a default rule of each kind, in the order of UpdateRule.
template <typename Visitor>
void ForEachRule(Visitor visit) {
  [&]<size_t... kind>(std::index_sequence<kind...>) {
    (visit(std::variant_alternative_t<kind, UpdateRule>()), ...);
  }
  (std::make_index_sequence<std::variant_size_v<UpdateRule>>());
}

// What people call the rule: "PercentDelta".
inline const char* RuleTitle(const UpdateRule& rule) {
  return std::visit([](const auto& kind) { return kind.kTitle; }, rule);
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_RULE_SPEC_H_
