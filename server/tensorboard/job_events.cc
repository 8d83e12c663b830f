// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/job_events.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/job/job_codec.h"

namespace percentdelta {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using HParams = google::protobuf::Map<std::string, tensorboard::HParamsValue>;

tensorboard::HParamsValue ValueOf(const Message& message, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  tensorboard::HParamsValue value;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      value.set_bool_value(reflection.GetBool(message, &field));
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      value.set_number_value(reflection.GetDouble(message, &field));
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      value.set_number_value(reflection.GetFloat(message, &field));
      break;
    case FieldDescriptor::CPPTYPE_INT32:
      value.set_number_value(reflection.GetInt32(message, &field));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      value.set_number_value(static_cast<double>(reflection.GetInt64(message, &field)));
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      value.set_number_value(reflection.GetUInt32(message, &field));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      value.set_number_value(static_cast<double>(reflection.GetUInt64(message, &field)));
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      value.set_string_value(reflection.GetEnum(message, &field)->name());
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      value.set_string_value(reflection.GetString(message, &field));
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;  // not a value
  }
  return value;
}

// Adds the fields that are set, by their path. Repeated ones (the tensors) are left out.
void AddFields(const Message& message, const std::string& prefix, HParams& values) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) continue;
    const std::string path = absl::StrCat(prefix, field->name());
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      values[path] = ValueOf(message, *field);
      continue;
    }
    const Message& part = reflection.GetMessage(message, field);
    const size_t before = values.size();
    AddFields(part, absl::StrCat(path, "."), values);
    // Of a oneof, such as the rule, that it is there says something.
    if (values.size() == before) values[path].set_bool_value(true);
  }
}

tensorboard::Summary::Value& AddValue(tensorboard::Event& event, absl::string_view tag,
                                      absl::string_view plugin, const std::string& content) {
  tensorboard::Summary::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(std::string(tag));
  auto& data = *value.mutable_metadata()->mutable_plugin_data();
  data.set_plugin_name(std::string(plugin));
  data.set_content(content);
  return value;
}

}  // namespace

tensorboard::Event JobEvent(const Job& job, absl::Time now) {
  tensorboard::Event event;
  event.set_wall_time(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  tensorboard::TensorProto& text = *AddValue(event, kJobTag, "text", "").mutable_tensor();
  text.set_dtype(tensorboard::TensorProto::DT_STRING);
  text.mutable_tensor_shape()->add_dim()->set_size(1);
  // Markdown: an indented text is shown as it is.
  const std::string indented =
      absl::StrCat("    ", absl::StrReplaceAll(JobToText(job), {{"\n", "\n    "}}));
  text.add_string_val(indented);

  tensorboard::HParamsPluginData session;
  tensorboard::SessionStartInfo& info = *session.mutable_session_start_info();
  AddFields(JobToProto(job), "", *info.mutable_hparams());
  info.set_start_time_secs(event.wall_time());
  tensorboard::TensorProto& none =
      *AddValue(event, "_hparams_/session_start_info", "hparams", session.SerializeAsString())
           .mutable_tensor();
  none.set_dtype(tensorboard::TensorProto::DT_FLOAT);
  none.mutable_tensor_shape()->add_dim()->set_size(1);
  none.add_float_val(0);
  return event;
}

}  // namespace percentdelta
