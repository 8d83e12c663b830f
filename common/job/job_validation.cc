// SPDX-License-Identifier: Apache-2.0

#include "common/job/job_validation.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/job/job_checks.h"

namespace percentdelta {
namespace {

constexpr int64_t kMaxEntries = int64_t{1} << 35;  // 128 GiB of weights
constexpr size_t kMaxTensors = 10000;
constexpr size_t kMaxDimensions = 32;
constexpr size_t kMaxJobNameBytes = 256;  // of the job, its architecture, its tensors
constexpr size_t kMaxPathBytes = 4000;    // less than the system's, for the names of files
constexpr int32_t kMaxGradientsPerStep = 1024;
constexpr int64_t kMaxSteps = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxExamples = int64_t{1} << 40;
constexpr int64_t kMaxBatch = 1 << 24;
constexpr int64_t kMaxEvaluationParts = 1 << 20;  // each is a lease
constexpr int32_t kMaxKept = 1000;
constexpr size_t kHashDigits = 64;

// Formats text for messages: escaped, cut, in quotes.
std::string Quoted(absl::string_view text) { return QuoteForLog(text); }

// A name that fits into a log line.
absl::Status CheckJobName(absl::string_view field, absl::string_view name) {
  if (name.empty()) return InvalidField(field, "a name", "none");
  if (name.size() > kMaxJobNameBytes) {
    return InvalidField(field, absl::StrCat("at most ", kMaxJobNameBytes, " bytes"),
                        absl::StrCat(name.size(), " bytes: ", Quoted(name)));
  }
  if (EscapeForLog(name, kMaxJobNameBytes) != name) {
    return InvalidField(field, "printable UTF-8 on one line", Quoted(name));
  }
  if (name.find_first_not_of(' ') == absl::string_view::npos) {
    return InvalidField(field, "a name", "blanks");
  }
  return absl::OkStatus();
}

// A name that is also a key: in files, on command lines, in other tools.
absl::Status CheckKey(absl::string_view field, absl::string_view name) {
  RETURN_IF_ERROR(CheckJobName(field, name));
  if (IsKey(name)) return absl::OkStatus();
  return InvalidField(field, "printable ASCII characters without blanks, quotes, backslashes",
                      Quoted(name));
}

absl::Status ValidateShape(const std::string& field, const std::vector<int64_t>& shape) {
  if (shape.size() > kMaxDimensions) {
    return InvalidField(field, absl::StrCat("at most ", kMaxDimensions, " dimensions"),
                        shape.size());
  }
  int64_t entries = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 1) return InvalidField(field, "dimensions of at least 1", dimension);
    if (dimension > kMaxEntries / entries) {
      return InvalidField(field, absl::StrCat("at most ", kMaxEntries, " entries"),
                          absl::StrCat("[", absl::StrJoin(shape, ", "), "]"));
    }
    entries *= dimension;
  }
  return absl::OkStatus();
}

absl::Status CheckMagnitude(const std::string& field, double value) {
  if (value == 0 || (std::fabs(value) >= kMinMagnitude && std::fabs(value) <= kMaxMagnitude)) {
    return absl::OkStatus();
  }
  return InvalidField(
      field, absl::StrCat("0 or a number of magnitude ", kMinMagnitude, "..", kMaxMagnitude),
      value);
}

// Validates an initializer, whose name `field` has, of a tensor of that shape.
class InitializerCheck {
 public:
  InitializerCheck(std::string field, const std::vector<int64_t>& shape)
      : field_(std::move(field)), shape_(shape) {}

  absl::Status operator()(const ConstantInitializer& constant) const {
    return CheckMagnitude(field_ + ".value", constant.value);
  }
  absl::Status operator()(const TruncatedNormalInitializer& normal) const {
    return CheckPositive(field_ + ".stddev", normal.stddev);
  }
  absl::Status operator()(const UniformInitializer& uniform) const {
    RETURN_IF_ERROR(CheckMagnitude(field_ + ".low", uniform.low));
    RETURN_IF_ERROR(CheckMagnitude(field_ + ".high", uniform.high));
    if (static_cast<float>(uniform.low) < static_cast<float>(uniform.high)) return absl::OkStatus();
    return InvalidField(field_ + ".high",
                        absl::StrCat("more than low, ", uniform.low, ", in single precision"),
                        uniform.high);
  }
  absl::Status operator()(const NormalInitializer& normal) const {
    RETURN_IF_ERROR(CheckMagnitude(field_ + ".mean", normal.mean));
    return CheckPositive(field_ + ".stddev", normal.stddev);
  }
  absl::Status operator()(const ScaledInitializer& scaled) const {
    if (scaled.layout != Layout::kInOut && scaled.layout != Layout::kOutIn) {
      const auto number = static_cast<int>(scaled.layout);
      return InvalidField(field_ + ".layout", "IN_OUT or OUT_IN",
                          number == 0 ? "none" : absl::StrCat(number));
    }
    RETURN_IF_ERROR(CheckPositive(field_ + ".gain", scaled.gain));
    if (shape_.size() >= 2) return absl::OkStatus();
    return InvalidField(field_, "a tensor of two or more dimensions, which has inputs and outputs",
                        absl::StrCat("[", absl::StrJoin(shape_, ", "), "]"));
  }
  absl::Status operator()(const FileInitializer& /*file*/) const {
    return InvalidField(field_, "one, in a job without initial_weights", "none");
  }

 private:
  const std::string field_;
  const std::vector<int64_t>& shape_;
};

absl::Status ValidateTensor(const TensorSpec& tensor, bool from_file) {
  RETURN_IF_ERROR(CheckKey("model.tensors name", tensor.name));
  const std::string field = absl::StrCat("model.tensors \"", tensor.name, "\"");
  RETURN_IF_ERROR(ValidateShape(field + " shape", tensor.shape));
  const std::string initializer = field + " initializer";
  const std::string name = InitializerName(tensor.initializer);
  if (!from_file) {
    return std::visit(
        InitializerCheck(absl::StrCat(initializer, name.empty() ? "" : ".", name), tensor.shape),
        tensor.initializer);
  }
  if (std::holds_alternative<FileInitializer>(tensor.initializer)) return absl::OkStatus();
  return InvalidField(initializer, "none besides initial_weights", name);
}

absl::Status ValidateModel(const ModelSpec& model, bool from_file) {
  RETURN_IF_ERROR(CheckKey("model.architecture", model.architecture));
  if (model.tensors.empty()) return InvalidField("model.tensors", "at least one tensor", "none");
  if (model.tensors.size() > kMaxTensors) {
    return InvalidField("model.tensors", absl::StrCat("at most ", kMaxTensors, " tensors"),
                        model.tensors.size());
  }
  std::set<absl::string_view> names;
  int64_t entries = 0;
  for (const TensorSpec& tensor : model.tensors) {
    RETURN_IF_ERROR(ValidateTensor(tensor, from_file));
    if (!names.insert(tensor.name).second) {
      return InvalidField("model.tensors", "different names", absl::StrCat(tensor.name, " twice"));
    }
    entries += tensor.size();
    if (entries > kMaxEntries) {
      return InvalidField("model.tensors",
                          absl::StrCat("at most ", kMaxEntries, " entries in the model"),
                          absl::StrCat(entries, " up to \"", tensor.name, "\""));
    }
  }
  if (model.trained_tensors() == 0) {
    return InvalidField("model.tensors", "at least one tensor that is trained", "only buffers");
  }
  // 0: no dropout.
  return CheckNotNegative("model.dropout_keep_probability", model.dropout_keep_probability, 1);
}

// Requires a path that means the same to every program: only shells expand "~" and variables, and
// they may differ between machines.
absl::Status ValidatePath(absl::string_view field, const std::string& path) {
  constexpr char kAdvice[] = "give an absolute path";
  if (path.empty()) return InvalidField(field, "a path", "none");
  if (path.size() > kMaxPathBytes) {
    return InvalidField(field, absl::StrCat("at most ", kMaxPathBytes, " bytes"),
                        absl::StrCat(path.size(), " bytes: ", Quoted(path)));
  }
  if (EscapeForLog(path, kMaxPathBytes) != path) {
    return InvalidField(field, "printable UTF-8 on one line", Quoted(path));
  }
  if (path.find_first_not_of(' ') == std::string::npos) {
    return InvalidField(field, "a path", "blanks");
  }
  if (path[0] == '~') {
    return InvalidField(field,
                        absl::StrCat("a path without \"~\", which is not expanded: ", kAdvice),
                        Quoted(path));
  }
  for (size_t at = path.find('$'); at != std::string::npos; at = path.find('$', at + 1)) {
    const char next = at + 1 < path.size() ? path[at + 1] : '\0';
    if (next == '{' || next == '(' || next == '_' ||
        std::isalpha(static_cast<unsigned char>(next)) != 0) {
      return InvalidField(
          field, absl::StrCat("a path without variables, which are not expanded: ", kAdvice),
          Quoted(path));
    }
  }
  if (path.find("://") != std::string::npos) {
    return InvalidField(field, absl::StrCat("a path in the file system, not a URL: ", kAdvice),
                        Quoted(path));
  }
  return absl::OkStatus();
}

absl::Status ValidateCheckpoint(const CheckpointSpec& checkpoint) {
  return FirstError({CheckInteger("checkpoint.every_steps", checkpoint.every_steps, 1, kMaxSteps),
                     ValidatePath("checkpoint.directory", checkpoint.directory),
                     CheckInteger("checkpoint.keep", checkpoint.max_kept, 1, kMaxKept)});
}

absl::Status ValidateInitialWeights(const InitialWeightsSpec& weights) {
  RETURN_IF_ERROR(ValidatePath("initial_weights.file", weights.file));
  const std::string& digits = weights.sha256;
  if (digits.size() == kHashDigits &&
      digits.find_first_not_of("0123456789abcdef") == std::string::npos) {
    return absl::OkStatus();
  }
  return InvalidField("initial_weights.sha256", absl::StrCat(kHashDigits, " hexadecimal digits"),
                      digits.empty() ? "none" : Quoted(digits));
}

absl::Status ValidateEvaluation(const EvaluationSpec& evaluation, int64_t test_examples) {
  RETURN_IF_ERROR(
      FirstError({CheckInteger("evaluation.every_steps", evaluation.every_steps, 1, kMaxSteps),
                  CheckInteger("data.test_examples", test_examples, 1, kMaxExamples),
                  CheckInteger("evaluation.batch_size", evaluation.batch_size, 1,
                               std::min(test_examples, kMaxBatch))}));
  if (test_examples / evaluation.batch_size < kMaxEvaluationParts) return absl::OkStatus();
  return InvalidField("evaluation.batch_size",
                      absl::StrCat("at most ", kMaxEvaluationParts, " batches in the test set"),
                      evaluation.batch_size);
}

}  // namespace

absl::Status ValidateJob(const Job& job) {
  return FirstError(
      {CheckJobName("name", job.name), ValidateModel(job.model, job.initial_weights.has_value()),
       ValidateUpdate(job),
       CheckInteger("gradients_per_step", job.gradients_per_step, 1, kMaxGradientsPerStep),
       CheckInteger("max_steps", job.max_steps, 1, kMaxSteps),
       CheckInteger("data.training_examples", job.data.training_examples, 1, kMaxExamples),
       CheckInteger("batch_size", job.batch_size, 1,
                    std::min(job.data.training_examples, kMaxBatch)),
       CheckInteger("data.test_examples", job.data.test_examples, 0, kMaxExamples),
       job.evaluation ? ValidateEvaluation(*job.evaluation, job.data.test_examples)
                      : absl::OkStatus(),
       job.checkpoint ? ValidateCheckpoint(*job.checkpoint) : absl::OkStatus(),
       job.initial_weights ? ValidateInitialWeights(*job.initial_weights) : absl::OkStatus()});
}

std::string WarningOfZeros(const Job& job, const TensorSpec& tensor) {
  if (tensor.buffer) return "";  // not moved by the rule
  if (std::holds_alternative<LarsRule>(job.optimizer.rule)) {
    return absl::StrCat("tensor ", tensor.name, " starts at zero: LARS moves a tensor in",
                        " proportion to itself, so that it will stay there");
  }
  const auto* percent_delta = std::get_if<PercentDeltaRule>(&job.optimizer.rule);
  if (percent_delta == nullptr) return "";
  return absl::StrCat("tensor ", tensor.name, " starts at zero: PercentDelta moves a tensor in",
                      " proportion to itself, so that its entries change by no more than",
                      " learning_rate * epsilon = ",
                      job.optimizer.learning_rate * percent_delta->epsilon, " a step on average");
}

std::vector<std::string> JobWarnings(const Job& job) {
  std::vector<std::string> warnings;
  for (const TensorSpec& tensor : job.model.tensors) {
    const auto* constant = std::get_if<ConstantInitializer>(&tensor.initializer);
    if (constant == nullptr || constant->value != 0) continue;
    std::string warning = WarningOfZeros(job, tensor);
    if (!warning.empty()) warnings.push_back(std::move(warning));
  }
  return warnings;
}

}  // namespace percentdelta
