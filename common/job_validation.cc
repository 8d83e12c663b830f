#include "common/job_validation.h"

#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

constexpr int64_t kMaxEntries = int64_t{1} << 40;
constexpr int32_t kMaxGradientsPerStep = 1024;
constexpr int64_t kMaxExamples = int64_t{1} << 40;
constexpr int64_t kMaxEvaluationParts = 1 << 20;  // each is a lease
constexpr int32_t kMaxKept = 1000;

template <typename T>
absl::Status Invalid(absl::string_view field, absl::string_view expected, const T& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("job: ", field, ": expected ", expected, ", got ", got));
}

bool IsPositive(double value) { return value > 0 && std::isfinite(value); }
bool IsNotNegative(double value) { return value >= 0 && std::isfinite(value); }
bool IsInUnitInterval(double value) { return value >= 0 && value <= 1; }

absl::Status ValidateTensor(const TensorSpec& tensor) {
  const std::string field = absl::StrCat("model.tensors \"", tensor.name, "\"");
  for (const char c : tensor.name) {
    if (c <= ' ' || c == '"' || c == '\\' || c == 0x7f) {
      return Invalid(field, "a name of printable characters without blanks, quotes, backslashes",
                     "another");
    }
  }
  int64_t entries = 1;
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 1) return Invalid(field + " shape", "dimensions of at least 1", dimension);
    if (dimension > kMaxEntries / entries) {
      return Invalid(field + " shape", absl::StrCat("at most ", kMaxEntries, " entries"), "more");
    }
    entries *= dimension;
  }
  if (const auto* normal = std::get_if<TruncatedNormalInitializer>(&tensor.initializer)) {
    if (!(normal->stddev > 0) || !std::isfinite(normal->stddev)) {
      return Invalid(field + " initializer.truncated_normal.stddev", "a positive number",
                     normal->stddev);
    }
  } else if (!std::isfinite(std::get<ConstantInitializer>(tensor.initializer).value)) {
    return Invalid(field + " initializer.constant.value", "a finite number", "another");
  }
  return absl::OkStatus();
}

absl::Status ValidateModel(const ModelSpec& model) {
  if (model.architecture.empty()) return Invalid("model.architecture", "a name", "none");
  if (model.tensors.empty()) return Invalid("model.tensors", "at least one tensor", "none");
  std::set<std::string> names;
  int64_t entries = 0;
  for (const TensorSpec& tensor : model.tensors) {
    if (tensor.name.empty()) return Invalid("model.tensors", "tensors with names", "one without");
    if (!names.insert(tensor.name).second) {
      return Invalid("model.tensors", "different names", absl::StrCat(tensor.name, " twice"));
    }
    if (absl::Status status = ValidateTensor(tensor); !status.ok()) return status;
    entries += tensor.size();
    if (entries > kMaxEntries) {
      return Invalid("model.tensors", absl::StrCat("at most ", kMaxEntries, " entries"), "more");
    }
  }
  if (!IsInUnitInterval(model.dropout_keep_probability)) {
    return Invalid("model.dropout_keep_probability", "a number in 0..1",
                   model.dropout_keep_probability);
  }
  return absl::OkStatus();
}

absl::Status Validate(const PercentDeltaRule& rule) {
  if (!IsPositive(rule.epsilon)) {
    return Invalid("optimizer.percent_delta.epsilon", "a positive number", rule.epsilon);
  }
  return absl::OkStatus();
}

absl::Status Validate(const SgdRule& /*rule*/) { return absl::OkStatus(); }

absl::Status Validate(const AdaGradRule& rule) {
  if (!IsNotNegative(rule.initial_accumulator)) {
    return Invalid("optimizer.ada_grad.initial_accumulator", "a number of at least 0",
                   rule.initial_accumulator);
  }
  if (!IsNotNegative(rule.epsilon)) {
    return Invalid("optimizer.ada_grad.epsilon", "a number of at least 0", rule.epsilon);
  }
  return absl::OkStatus();
}

absl::Status Validate(const AdamRule& rule) {
  if (!(rule.beta1 > 0 && rule.beta1 < 1)) {
    return Invalid("optimizer.adam.beta1", "a number in (0, 1)", rule.beta1);
  }
  if (!(rule.beta2 > 0 && rule.beta2 < 1)) {
    return Invalid("optimizer.adam.beta2", "a number in (0, 1)", rule.beta2);
  }
  if (!IsPositive(rule.epsilon)) {
    return Invalid("optimizer.adam.epsilon", "a positive number", rule.epsilon);
  }
  return absl::OkStatus();
}

absl::Status Validate(const LarsRule& rule) {
  if (!IsPositive(rule.trust_coefficient)) {
    return Invalid("optimizer.lars.trust_coefficient", "a positive number", rule.trust_coefficient);
  }
  if (!IsNotNegative(rule.weight_decay)) {
    return Invalid("optimizer.lars.weight_decay", "a number of at least 0", rule.weight_decay);
  }
  return absl::OkStatus();
}

absl::Status Validate(const ConstantRate& /*decay*/) { return absl::OkStatus(); }

absl::Status Validate(const LinearDecay& decay) {
  if (!IsNotNegative(decay.slope)) {
    return Invalid("schedule.linear_decay.slope", "a number of at least 0", decay.slope);
  }
  if (!IsInUnitInterval(decay.floor)) {
    return Invalid("schedule.linear_decay.floor", "a number in 0..1", decay.floor);
  }
  return absl::OkStatus();
}

absl::Status Validate(const StepDecay& decay) {
  if (decay.every_steps < 1) {
    return Invalid("schedule.step_decay.every_steps", "at least 1", decay.every_steps);
  }
  if (!(decay.factor > 0 && decay.factor <= 1)) {
    return Invalid("schedule.step_decay.factor", "a number in (0, 1]", decay.factor);
  }
  return absl::OkStatus();
}

absl::Status Validate(const CosineDecay& decay) {
  if (decay.steps < 1) return Invalid("schedule.cosine.steps", "at least 1", decay.steps);
  if (!IsInUnitInterval(decay.floor)) {
    return Invalid("schedule.cosine.floor", "a number in 0..1", decay.floor);
  }
  return absl::OkStatus();
}

absl::Status Validate(const MomentumSpec& momentum, const UpdateRule& rule) {
  if (!(momentum.coefficient >= 0 && momentum.coefficient < 1)) {
    return Invalid("momentum.coefficient", "a number in [0, 1)", momentum.coefficient);
  }
  if (!(momentum.dampening >= 0 && momentum.dampening < 1)) {
    return Invalid("momentum.dampening", "a number in [0, 1)", momentum.dampening);
  }
  const bool accumulates =
      std::holds_alternative<AdaGradRule>(rule) || std::holds_alternative<AdamRule>(rule);
  if (momentum.any() && accumulates) {
    return Invalid(
        "momentum", "none with ada_grad and adam, which scale every entry by its own past",
        absl::StrCat("coefficient ", momentum.coefficient, ", dampening ", momentum.dampening));
  }
  return absl::OkStatus();
}

absl::Status ValidateUpdate(const Job& job) {
  const double rate = job.optimizer.learning_rate;
  if (!IsPositive(rate)) return Invalid("optimizer.learning_rate", "a positive number", rate);
  const auto validate = [](const auto& spec) { return Validate(spec); };
  if (absl::Status status = std::visit(validate, job.optimizer.rule); !status.ok()) return status;
  if (absl::Status status = std::visit(validate, job.schedule.decay); !status.ok()) return status;
  if (job.schedule.warmup_steps < 0) {
    return Invalid("schedule.warmup_steps", "at least 0", job.schedule.warmup_steps);
  }
  if (job.gradient_clipping && !IsPositive(job.gradient_clipping->norm)) {
    return Invalid("gradient_clipping.norm", "a positive number", job.gradient_clipping->norm);
  }
  if (job.weight_decay && !IsPositive(job.weight_decay->rate)) {
    return Invalid("weight_decay.rate", "a positive number", job.weight_decay->rate);
  }
  return Validate(job.momentum, job.optimizer.rule);
}

absl::Status ValidateCheckpoint(const CheckpointSpec& checkpoint) {
  if (checkpoint.every_steps < 1) {
    return Invalid("checkpoint.every_steps", "at least 1", checkpoint.every_steps);
  }
  if (checkpoint.directory.empty()) return Invalid("checkpoint.directory", "a path", "none");
  if (checkpoint.keep < 1 || checkpoint.keep > kMaxKept) {
    return Invalid("checkpoint.keep", absl::StrCat("1..", kMaxKept), checkpoint.keep);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateJob(const Job& job) {
  if (job.name.empty()) return Invalid("name", "a name", "none");
  if (absl::Status status = ValidateModel(job.model); !status.ok()) return status;
  if (absl::Status status = ValidateUpdate(job); !status.ok()) return status;
  if (job.gradients_per_step < 1 || job.gradients_per_step > kMaxGradientsPerStep) {
    return Invalid("gradients_per_step", absl::StrCat("1..", kMaxGradientsPerStep),
                   job.gradients_per_step);
  }
  if (job.max_steps < 1 || job.max_steps > std::numeric_limits<int32_t>::max()) {
    return Invalid("max_steps", "1..2147483647", job.max_steps);
  }
  if (job.data.training_examples < 1 || job.data.training_examples > kMaxExamples) {
    return Invalid("data.training_examples", absl::StrCat("1..", kMaxExamples),
                   job.data.training_examples);
  }
  if (job.batch_size < 1 || job.batch_size > job.data.training_examples) {
    return Invalid("batch_size", absl::StrCat("1..", job.data.training_examples), job.batch_size);
  }
  if (job.evaluation) {
    if (job.evaluation->every_steps < 1) {
      return Invalid("evaluation.every_steps", "at least 1", job.evaluation->every_steps);
    }
    if (job.data.test_examples < 1 || job.data.test_examples > kMaxExamples) {
      return Invalid("data.test_examples", absl::StrCat("1..", kMaxExamples),
                     job.data.test_examples);
    }
    if (job.evaluation->batch_size < 1 || job.evaluation->batch_size > job.data.test_examples) {
      return Invalid("evaluation.batch_size", absl::StrCat("1..", job.data.test_examples),
                     job.evaluation->batch_size);
    }
    if (job.data.test_examples / job.evaluation->batch_size >= kMaxEvaluationParts) {
      return Invalid("evaluation.batch_size",
                     absl::StrCat("at most ", kMaxEvaluationParts, " batches in the test set"),
                     job.evaluation->batch_size);
    }
  }
  return job.checkpoint ? ValidateCheckpoint(*job.checkpoint) : absl::OkStatus();
}

std::vector<std::string> JobWarnings(const Job& job) {
  std::vector<std::string> warnings;
  const auto* percent_delta = std::get_if<PercentDeltaRule>(&job.optimizer.rule);
  if (percent_delta == nullptr && !std::holds_alternative<LarsRule>(job.optimizer.rule)) {
    return warnings;
  }
  for (const TensorSpec& tensor : job.model.tensors) {
    const auto* constant = std::get_if<ConstantInitializer>(&tensor.initializer);
    if (constant == nullptr || constant->value != 0) continue;
    if (percent_delta == nullptr) {
      warnings.push_back(absl::StrCat("tensor ", tensor.name,
                                      " starts at zero: LARS moves a tensor in proportion to",
                                      " itself, so that it will stay there"));
      continue;
    }
    warnings.push_back(absl::StrCat(
        "tensor ", tensor.name, " starts at zero: PercentDelta moves a tensor in proportion to",
        " itself, so that its entries change by no more than learning_rate * epsilon = ",
        job.optimizer.learning_rate * percent_delta->epsilon, " a step on average"));
  }
  return warnings;
}

}  // namespace percentdelta
