// SPDX-License-Identifier: Apache-2.0

// The job's update: rule (rule_spec.h), schedule and the stages around them, as plain data. Ranges
// and formulas are in proto/percentdelta/v1/job.proto, arithmetic in server/update/.

#ifndef PERCENTDELTA_COMMON_JOB_UPDATE_SPEC_H_
#define PERCENTDELTA_COMMON_JOB_UPDATE_SPEC_H_

#include <cstdint>
#include <variant>

#include "common/job/rule_spec.h"

namespace percentdelta {

struct OptimizerSpec {
  double learning_rate = 0;  // eta
  UpdateRule rule;
};

// The decay of gamma(t); the formulas are in server/update/schedule.h.
struct ConstantRate {};
struct LinearDecay {
  double slope = 0;
  double floor = 0;
};
struct StepDecay {
  int64_t every_steps = 0;
  double factor = 0;
};
struct CosineDecay {
  int64_t steps = 0;
  double floor = 0;
};

// gamma(t). The default is the constant 1.
struct ScheduleSpec {
  std::variant<ConstantRate, LinearDecay, StepDecay, CosineDecay> decay;
  int64_t warmup_steps = 0;  // 0: none
};

// v = coefficient * v + (1 - dampening) * delta. The default is v = delta.
struct MomentumSpec {
  double coefficient = 0;
  double dampening = 0;
  bool nesterov = false;

  // Whether there is momentum, and hence a v to store.
  bool any() const { return coefficient != 0 || dampening != 0; }
};

// Scales each tensor's gradient down to at most this norm.
struct GradientClippingSpec {
  double norm = 0;  // L2, > 0
};

// W = W - eta * gamma(t) * rate * W, in addition to the rule's change.
struct WeightDecaySpec {
  double rate = 0;  // > 0
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_UPDATE_SPEC_H_
