// SPDX-License-Identifier: Apache-2.0

#include "common/job/job_codec.h"

#include <string>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/job/initializer_codec.h"
#include "common/job/job_text.h"
#include "common/job/job_validation.h"
#include "common/job/rule_codec.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"

namespace percentdelta {
namespace {

constexpr char kFormat[] =
    " (a job is a text-format protobuf; see proto/percentdelta/v1/job.proto)";
constexpr size_t kMaxErrorBytes = 500;

// Stores the first error of the text format's parser.
class FirstParseError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat(line + 1, ":", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

ScheduleSpec ScheduleFromProto(const v1::Schedule& proto) {
  ScheduleSpec schedule;
  schedule.warmup_steps = proto.warmup_steps();
  switch (proto.kind_case()) {
    case v1::Schedule::kLinearDecay:
      schedule.decay = LinearDecay{proto.linear_decay().slope(), proto.linear_decay().floor()};
      break;
    case v1::Schedule::kStepDecay:
      schedule.decay = StepDecay{proto.step_decay().every_steps(), proto.step_decay().factor()};
      break;
    case v1::Schedule::kCosine:
      schedule.decay = CosineDecay{proto.cosine().steps(), proto.cosine().floor()};
      break;
    case v1::Schedule::kConstant:
    case v1::Schedule::KIND_NOT_SET:
      break;
  }
  return schedule;
}

// Omits a constant schedule, however it was written.
void ToProto(const ScheduleSpec& schedule, v1::Job& proto) {
  if (const auto* linear = std::get_if<LinearDecay>(&schedule.decay)) {
    if (linear->slope > 0) {
      proto.mutable_schedule()->mutable_linear_decay()->set_slope(linear->slope);
      proto.mutable_schedule()->mutable_linear_decay()->set_floor(linear->floor);
    }
  } else if (const auto* step = std::get_if<StepDecay>(&schedule.decay)) {
    proto.mutable_schedule()->mutable_step_decay()->set_every_steps(step->every_steps);
    proto.mutable_schedule()->mutable_step_decay()->set_factor(step->factor);
  } else if (const auto* cosine = std::get_if<CosineDecay>(&schedule.decay)) {
    proto.mutable_schedule()->mutable_cosine()->set_steps(cosine->steps);
    proto.mutable_schedule()->mutable_cosine()->set_floor(cosine->floor);
  }
  if (schedule.warmup_steps > 0) {
    proto.mutable_schedule()->set_warmup_steps(schedule.warmup_steps);
  }
}

TensorSpec TensorFromProto(const v1::Tensor& proto, bool from_file) {
  return {proto.name(),
          {proto.shape().begin(), proto.shape().end()},
          InitializerFromProto(proto, from_file),
          proto.buffer()};
}

}  // namespace

absl::StatusOr<Job> JobFromProto(const v1::Job& proto) {
  Job job;
  job.name = proto.name();
  job.model.architecture = proto.model().architecture();
  for (const v1::Tensor& tensor : proto.model().tensors()) {
    job.model.tensors.push_back(TensorFromProto(tensor, proto.has_initial_weights()));
  }
  if (proto.model().has_dropout_keep_probability()) {
    job.model.dropout_keep_probability = proto.model().dropout_keep_probability();
    if (job.model.dropout_keep_probability == 0) {  // in a Job, 0 means no dropout
      return absl::InvalidArgumentError(
          "job: model.dropout_keep_probability: expected a number in (0, 1], or no such field for "
          "no dropout, got 0");
    }
  }
  job.optimizer.learning_rate = proto.optimizer().learning_rate();
  ASSIGN_OR_RETURN(job.optimizer.rule, RuleFromProto(proto.optimizer()));
  job.schedule = ScheduleFromProto(proto.schedule());
  job.momentum = {proto.momentum().coefficient(), proto.momentum().dampening(),
                  proto.momentum().nesterov()};
  job.gradients_per_step = proto.gradients_per_step();
  job.max_steps = proto.max_steps();
  job.batch_size = proto.batch_size();
  job.seed = proto.seed();
  if (proto.has_evaluation()) {
    job.evaluation =
        EvaluationSpec{proto.evaluation().every_steps(), proto.evaluation().batch_size()};
  }
  job.data = {proto.data().training_examples(), proto.data().test_examples()};
  if (proto.has_checkpoint()) {
    job.checkpoint = CheckpointSpec{.every_steps = proto.checkpoint().every_steps(),
                                    .directory = proto.checkpoint().directory()};
    if (proto.checkpoint().has_keep()) job.checkpoint->max_kept = proto.checkpoint().keep();
  }
  if (proto.has_gradient_clipping()) {
    job.gradient_clipping = GradientClippingSpec{proto.gradient_clipping().norm()};
  }
  if (proto.has_weight_decay()) {
    job.weight_decay = WeightDecaySpec{proto.weight_decay().rate()};
  }
  if (proto.has_initial_weights()) {
    job.initial_weights = InitialWeightsSpec{
        proto.initial_weights().file(), absl::AsciiStrToLower(proto.initial_weights().sha256())};
  }
  job.any_arithmetic = proto.any_arithmetic();
  RETURN_IF_ERROR(ValidateJob(job));
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
    tensor.set_buffer(spec.buffer);
    ToProto(spec.initializer, tensor);
  }
  if (job.model.dropout_keep_probability != 0) {
    proto.mutable_model()->set_dropout_keep_probability(job.model.dropout_keep_probability);
  }
  v1::Optimizer& optimizer = *proto.mutable_optimizer();
  optimizer.set_learning_rate(job.optimizer.learning_rate);
  ToProto(job.optimizer.rule, optimizer);
  ToProto(job.schedule, proto);
  if (job.momentum.any()) {
    proto.mutable_momentum()->set_coefficient(job.momentum.coefficient);
    proto.mutable_momentum()->set_dampening(job.momentum.dampening);
    proto.mutable_momentum()->set_nesterov(job.momentum.nesterov);
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
  if (job.checkpoint) {
    proto.mutable_checkpoint()->set_every_steps(job.checkpoint->every_steps);
    proto.mutable_checkpoint()->set_directory(job.checkpoint->directory);
    proto.mutable_checkpoint()->set_keep(job.checkpoint->max_kept);
  }
  if (job.gradient_clipping) {
    proto.mutable_gradient_clipping()->set_norm(job.gradient_clipping->norm);
  }
  if (job.weight_decay) proto.mutable_weight_decay()->set_rate(job.weight_decay->rate);
  if (job.initial_weights) {
    proto.mutable_initial_weights()->set_file(job.initial_weights->file);
    proto.mutable_initial_weights()->set_sha256(job.initial_weights->sha256);
  }
  proto.set_any_arithmetic(job.any_arithmetic);
  return proto;
}

absl::StatusOr<Job> ParseJob(absl::string_view text, absl::string_view source) {
  absl::StatusOr<std::string> plain = PlainJobText(text);
  if (!plain.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(source, plain.status().message(), kFormat));
  }
  v1::Job proto;
  FirstParseError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(*plain, &proto)) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ":", EscapeForLog(error.text(), kMaxErrorBytes), kFormat));
  }
  absl::StatusOr<Job> job = JobFromProto(proto);
  if (!job.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": ", job.status().message()));
  }
  return job;
}

absl::StatusOr<Job> LoadJob(const std::string& path) {
  if (path.empty()) return ParseJob(DefaultJobText(), "the built-in job");
  ASSIGN_OR_RETURN(const std::string text, ReadJobFile(path));
  return ParseJob(text, path);
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
