#include "common/job_codec.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/sha256.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"

namespace percentdelta {
namespace {

constexpr int64_t kMaxEntries = int64_t{1} << 40;
constexpr int32_t kMaxGradientsPerStep = 1024;
constexpr int64_t kMaxExamples = int64_t{1} << 40;
constexpr int64_t kMaxEvaluationParts = 1 << 20;  // each is a lease

// Keeps the first error of the text format's parser.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat(line + 1, ":", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

template <typename T>
absl::Status Invalid(absl::string_view field, absl::string_view expected, const T& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("job: ", field, ": expected ", expected, ", got ", got));
}

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
  return absl::OkStatus();
}

absl::Status ValidateRule(const Job& job) {
  const double rate = job.optimizer.learning_rate;
  if (!(rate > 0) || !std::isfinite(rate)) {
    return Invalid("optimizer.learning_rate", "a positive number", rate);
  }
  if (const auto* rule = std::get_if<PercentDeltaRule>(&job.optimizer.rule)) {
    if (!(rule->epsilon > 0) || !std::isfinite(rule->epsilon)) {
      return Invalid("optimizer.percent_delta.epsilon", "a positive number", rule->epsilon);
    }
  }
  if (!(job.schedule.slope >= 0) || !std::isfinite(job.schedule.slope)) {
    return Invalid("schedule.linear_decay.slope", "a number of at least 0", job.schedule.slope);
  }
  if (!(job.schedule.floor >= 0 && job.schedule.floor <= 1)) {
    return Invalid("schedule.linear_decay.floor", "a number in 0..1", job.schedule.floor);
  }
  if (!(job.momentum.coefficient >= 0 && job.momentum.coefficient < 1)) {
    return Invalid("momentum.coefficient", "a number in [0, 1)", job.momentum.coefficient);
  }
  if (!(job.momentum.dampening >= 0 && job.momentum.dampening < 1)) {
    return Invalid("momentum.dampening", "a number in [0, 1)", job.momentum.dampening);
  }
  return absl::OkStatus();
}

absl::StatusOr<UpdateRule> RuleFromProto(const v1::Optimizer& proto) {
  switch (proto.rule_case()) {
    case v1::Optimizer::kPercentDelta:
      return PercentDeltaRule{proto.percent_delta().epsilon()};
    case v1::Optimizer::kSgd:
      return SgdRule{};
    case v1::Optimizer::RULE_NOT_SET:
      break;
  }
  return Invalid("optimizer", "a rule, one of percent_delta, sgd", "none");
}

TensorSpec TensorFromProto(const v1::Tensor& proto) {
  TensorSpec tensor{proto.name(), {proto.shape().begin(), proto.shape().end()}, {}};
  if (proto.initializer().has_truncated_normal()) {
    tensor.initializer =
        TruncatedNormalInitializer{proto.initializer().truncated_normal().stddev()};
  } else {
    tensor.initializer = ConstantInitializer{proto.initializer().constant().value()};
  }
  return tensor;
}

}  // namespace

absl::Status ValidateJob(const Job& job) {
  if (job.name.empty()) return Invalid("name", "a name", "none");
  if (absl::Status status = ValidateModel(job.model); !status.ok()) return status;
  if (absl::Status status = ValidateRule(job); !status.ok()) return status;
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
  return absl::OkStatus();
}

std::vector<std::string> JobWarnings(const Job& job) {
  std::vector<std::string> warnings;
  const auto* rule = std::get_if<PercentDeltaRule>(&job.optimizer.rule);
  if (rule == nullptr) return warnings;
  for (const TensorSpec& tensor : job.model.tensors) {
    const auto* constant = std::get_if<ConstantInitializer>(&tensor.initializer);
    if (constant == nullptr || constant->value != 0) continue;
    warnings.push_back(absl::StrCat(
        "tensor ", tensor.name, " starts at zero: PercentDelta moves a tensor in proportion to",
        " itself, so that its entries change by no more than learning_rate * epsilon = ",
        job.optimizer.learning_rate * rule->epsilon, " a step on average"));
  }
  return warnings;
}

absl::StatusOr<Job> JobFromProto(const v1::Job& proto) {
  Job job;
  job.name = proto.name();
  job.model.architecture = proto.model().architecture();
  for (const v1::Tensor& tensor : proto.model().tensors()) {
    job.model.tensors.push_back(TensorFromProto(tensor));
  }
  job.optimizer.learning_rate = proto.optimizer().learning_rate();
  absl::StatusOr<UpdateRule> rule = RuleFromProto(proto.optimizer());
  if (!rule.ok()) return rule.status();
  job.optimizer.rule = *std::move(rule);
  job.schedule = {proto.schedule().linear_decay().slope(), proto.schedule().linear_decay().floor()};
  job.momentum = {proto.momentum().coefficient(), proto.momentum().dampening()};
  job.gradients_per_step = proto.gradients_per_step();
  job.max_steps = proto.max_steps();
  job.batch_size = proto.batch_size();
  job.seed = proto.seed();
  if (proto.has_evaluation()) {
    job.evaluation =
        EvaluationSpec{proto.evaluation().every_steps(), proto.evaluation().batch_size()};
  }
  job.data = {proto.data().training_examples(), proto.data().test_examples()};
  if (absl::Status status = ValidateJob(job); !status.ok()) return status;
  return job;
}

v1::Job JobToProto(const Job& job) {
  v1::Job proto;
  proto.set_name(job.name);
  proto.mutable_model()->set_architecture(job.model.architecture);
  for (const TensorSpec& spec : job.model.tensors) {
    v1::Tensor& tensor = *proto.mutable_model()->add_tensors();
    tensor.set_name(spec.name);
    tensor.mutable_shape()->Assign(spec.shape.begin(), spec.shape.end());
    if (const auto* normal = std::get_if<TruncatedNormalInitializer>(&spec.initializer)) {
      tensor.mutable_initializer()->mutable_truncated_normal()->set_stddev(normal->stddev);
    } else {
      tensor.mutable_initializer()->mutable_constant()->set_value(
          std::get<ConstantInitializer>(spec.initializer).value);
    }
  }
  v1::Optimizer& optimizer = *proto.mutable_optimizer();
  optimizer.set_learning_rate(job.optimizer.learning_rate);
  if (const auto* rule = std::get_if<PercentDeltaRule>(&job.optimizer.rule)) {
    optimizer.mutable_percent_delta()->set_epsilon(rule->epsilon);
  } else {
    optimizer.mutable_sgd();
  }
  if (job.schedule.slope > 0) {
    proto.mutable_schedule()->mutable_linear_decay()->set_slope(job.schedule.slope);
    proto.mutable_schedule()->mutable_linear_decay()->set_floor(job.schedule.floor);
  }
  if (job.momentum.coefficient > 0 || job.momentum.dampening > 0) {
    proto.mutable_momentum()->set_coefficient(job.momentum.coefficient);
    proto.mutable_momentum()->set_dampening(job.momentum.dampening);
  }
  proto.set_gradients_per_step(job.gradients_per_step);
  proto.set_max_steps(job.max_steps);
  proto.set_batch_size(job.batch_size);
  proto.set_seed(job.seed);
  if (job.evaluation) {
    proto.mutable_evaluation()->set_every_steps(job.evaluation->every_steps);
    proto.mutable_evaluation()->set_batch_size(job.evaluation->batch_size);
  }
  proto.mutable_data()->set_training_examples(job.data.training_examples);
  proto.mutable_data()->set_test_examples(job.data.test_examples);
  return proto;
}

absl::StatusOr<Job> ParseJob(absl::string_view text, absl::string_view source) {
  v1::Job proto;
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(std::string(text), &proto)) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ":", error.text(), " (a job is a text-format protobuf; see "
                     "proto/percentdelta/v1/job.proto)"));
  }
  absl::StatusOr<Job> job = JobFromProto(proto);
  if (!job.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": ", job.status().message()));
  }
  return job;
}

absl::StatusOr<Job> LoadJob(const std::string& path) {
  if (path.empty()) return ParseJob(DefaultJobText(), "the built-in job");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::NotFoundError(
        absl::StrCat("cannot read the job file ", path, ": is the path right, the file not empty?"));
  }
  return ParseJob(text.str(), path);
}

std::string JobToText(const Job& job) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(JobToProto(job), &text);
  return text;
}

std::string JobHash(const Job& job) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    JobToProto(job).SerializeToCodedStream(&coded);
  }
  return Sha256Hex(bytes);
}

}  // namespace percentdelta
