// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/statistics_proto.h"

#include <cstdint>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace percentdelta {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;

// The message's fields, in the order of VisitStatisticsFields.
const std::vector<const FieldDescriptor*>& Fields() {
  static const auto* const kFields = [] {
    auto* fields = new std::vector<const FieldDescriptor*>;
    VisitStatisticsFields([&](const char* name, auto /*member*/) {
      fields->push_back(v1::TensorStatistics::descriptor()->FindFieldByName(name));
    });
    return fields;
  }();
  return *kFields;
}

// Reads or writes one field of a message.
struct Accessor {
  const Reflection& reflection = *v1::TensorStatistics::GetReflection();
  const FieldDescriptor* field;

  void Get(const v1::TensorStatistics& proto, int64_t& value) const {
    value = reflection.GetInt64(proto, field);
  }
  void Get(const v1::TensorStatistics& proto, double& value) const {
    value = reflection.GetDouble(proto, field);
  }
  void Get(const v1::TensorStatistics& proto, std::string& value) const {
    value = reflection.GetString(proto, field);
  }
  void Set(v1::TensorStatistics& proto, int64_t value) const {
    reflection.SetInt64(&proto, field, value);
  }
  void Set(v1::TensorStatistics& proto, double value) const {
    reflection.SetDouble(&proto, field, value);
  }
  void Set(v1::TensorStatistics& proto, const std::string& value) const {
    reflection.SetString(&proto, field, value);
  }
};

}  // namespace

TensorStatistics FromProto(const v1::TensorStatistics& proto) {
  TensorStatistics update;
  auto field = Fields().begin();
  VisitStatisticsFields([&](const char* /*name*/, auto member) {
    Accessor{.field = *field++}.Get(proto, update.*member);
  });
  return update;
}

void ToProto(const TensorStatistics& update, v1::TensorStatistics& proto) {
  auto field = Fields().begin();
  VisitStatisticsFields([&](const char* /*name*/, auto member) {
    Accessor{.field = *field++}.Set(proto, update.*member);
  });
}

StepStatistics FromProto(const v1::StepStatistics& proto) {
  StepStatistics step{proto.step(), {}};
  for (const v1::TensorStatistics& update : proto.updates()) {
    step.updates.push_back(FromProto(update));
  }
  return step;
}

void ToProto(const StepStatistics& step, v1::StepStatistics& proto) {
  proto.set_step(step.step);
  for (const TensorStatistics& update : step.updates) ToProto(update, *proto.add_updates());
}

}  // namespace percentdelta
