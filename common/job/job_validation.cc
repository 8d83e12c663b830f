// SPDX-License-Identifier: Apache-2.0

#include "common/job/job_validation.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <set>

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

// Formats text for messages: escaped, cut, in quotes.
std::string Quoted(absl::string_view text) {
  constexpr size_t kShown = 80;
  return absl::StrCat("\"", EscapeForLog(text, kShown), "\"");
}

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
  const auto fits = [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; };
  if (std::all_of(name.begin(), name.end(), fits)) return absl::OkStatus();
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

absl::Status ValidateTensor(const TensorSpec& tensor) {
  RETURN_IF_ERROR(CheckKey("model.tensors name", tensor.name));
  const std::string field = absl::StrCat("model.tensors \"", tensor.name, "\"");
  RETURN_IF_ERROR(ValidateShape(field + " shape", tensor.shape));
  if (const auto* normal = std::get_if<TruncatedNormalInitializer>(&tensor.initializer)) {
    return CheckPositive(field + " initializer.truncated_normal.stddev", normal->stddev);
  }
  const double value = std::get<ConstantInitializer>(tensor.initializer).value;
  if (value == 0 || (std::fabs(value) >= kMinMagnitude && std::fabs(value) <= kMaxMagnitude)) {
    return absl::OkStatus();
  }
  return InvalidField(
      field + " initializer.constant.value",
      absl::StrCat("0 or a number of magnitude ", kMinMagnitude, "..", kMaxMagnitude), value);
}

absl::Status ValidateModel(const ModelSpec& model) {
  RETURN_IF_ERROR(CheckKey("model.architecture", model.architecture));
  if (model.tensors.empty()) return InvalidField("model.tensors", "at least one tensor", "none");
  if (model.tensors.size() > kMaxTensors) {
    return InvalidField("model.tensors", absl::StrCat("at most ", kMaxTensors, " tensors"),
                        model.tensors.size());
  }
  std::set<absl::string_view> names;
  int64_t entries = 0;
  for (const TensorSpec& tensor : model.tensors) {
    RETURN_IF_ERROR(ValidateTensor(tensor));
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

// Requires a path that means the same directory to every program: only shells expand "~" and
// variables, and they may differ between machines.
absl::Status ValidateDirectory(const std::string& path) {
  constexpr char kField[] = "checkpoint.directory";
  constexpr char kAdvice[] = "give an absolute path";
  if (path.empty()) return InvalidField(kField, "a path", "none");
  if (path.size() > kMaxPathBytes) {
    return InvalidField(kField, absl::StrCat("at most ", kMaxPathBytes, " bytes"),
                        absl::StrCat(path.size(), " bytes: ", Quoted(path)));
  }
  if (EscapeForLog(path, kMaxPathBytes) != path) {
    return InvalidField(kField, "printable UTF-8 on one line", Quoted(path));
  }
  if (path.find_first_not_of(' ') == std::string::npos) {
    return InvalidField(kField, "a path", "blanks");
  }
  if (path[0] == '~') {
    return InvalidField(kField,
                        absl::StrCat("a path without \"~\", which is not expanded: ", kAdvice),
                        Quoted(path));
  }
  for (size_t at = path.find('$'); at != std::string::npos; at = path.find('$', at + 1)) {
    const char next = at + 1 < path.size() ? path[at + 1] : '\0';
    if (next == '{' || next == '(' || next == '_' ||
        std::isalpha(static_cast<unsigned char>(next)) != 0) {
      return InvalidField(
          kField, absl::StrCat("a path without variables, which are not expanded: ", kAdvice),
          Quoted(path));
    }
  }
  if (path.find("://") != std::string::npos) {
    return InvalidField(kField, absl::StrCat("a path in the file system, not a URL: ", kAdvice),
                        Quoted(path));
  }
  return absl::OkStatus();
}

absl::Status ValidateCheckpoint(const CheckpointSpec& checkpoint) {
  return FirstError({CheckInteger("checkpoint.every_steps", checkpoint.every_steps, 1, kMaxSteps),
                     ValidateDirectory(checkpoint.directory),
                     CheckInteger("checkpoint.keep", checkpoint.max_kept, 1, kMaxKept)});
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
      {CheckJobName("name", job.name), ValidateModel(job.model), ValidateUpdate(job),
       CheckInteger("gradients_per_step", job.gradients_per_step, 1, kMaxGradientsPerStep),
       CheckInteger("max_steps", job.max_steps, 1, kMaxSteps),
       CheckInteger("data.training_examples", job.data.training_examples, 1, kMaxExamples),
       CheckInteger("batch_size", job.batch_size, 1,
                    std::min(job.data.training_examples, kMaxBatch)),
       CheckInteger("data.test_examples", job.data.test_examples, 0, kMaxExamples),
       job.evaluation ? ValidateEvaluation(*job.evaluation, job.data.test_examples)
                      : absl::OkStatus(),
       job.checkpoint ? ValidateCheckpoint(*job.checkpoint) : absl::OkStatus()});
}

std::vector<std::string> JobWarnings(const Job& job) {
  std::vector<std::string> warnings;
  const auto* percent_delta = std::get_if<PercentDeltaRule>(&job.optimizer.rule);
  if (percent_delta == nullptr && !std::holds_alternative<LarsRule>(job.optimizer.rule)) {
    return warnings;
  }
  for (const TensorSpec& tensor : job.model.tensors) {
    const auto* constant = std::get_if<ConstantInitializer>(&tensor.initializer);
    if (tensor.buffer || constant == nullptr || constant->value != 0) continue;
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
