// SPDX-License-Identifier: Apache-2.0

#include "common/job/rule_codec.h"

#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace percentdelta {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

template <typename Rule>
Rule Read(const Message& message) {
  Rule rule;
  for (const auto& field : Rule::Fields()) {
    const FieldDescriptor* found = message.GetDescriptor()->FindFieldByName(field.name);
    if (found->has_presence() && !message.GetReflection()->HasField(message, found)) continue;
    rule.*field.value = message.GetReflection()->GetDouble(message, found);
  }
  return rule;
}

template <typename Rule>
void Write(const Rule& rule, Message& message) {
  for (const auto& field : Rule::Fields()) {
    message.GetReflection()->SetDouble(
        &message, message.GetDescriptor()->FindFieldByName(field.name), rule.*field.value);
  }
}

}  // namespace

absl::StatusOr<UpdateRule> RuleFromProto(const v1::Optimizer& proto) {
  const auto* reflection = v1::Optimizer::GetReflection();
  std::optional<UpdateRule> read;
  std::vector<std::string> names;
  ForEachRule([&](const auto& kind) {
    names.emplace_back(kind.kName);
    const FieldDescriptor* field = v1::Optimizer::descriptor()->FindFieldByName(kind.kName);
    if (!reflection->HasField(proto, field)) return;
    read = Read<std::decay_t<decltype(kind)>>(reflection->GetMessage(proto, field));
  });
  if (read) return *read;
  return absl::InvalidArgumentError(absl::StrCat("job: optimizer: expected a rule, one of ",
                                                 absl::StrJoin(names, ", "), ", got none"));
}

void ToProto(const UpdateRule& rule, v1::Optimizer& proto) {
  std::visit(
      [&](const auto& kind) {
        const FieldDescriptor* field = v1::Optimizer::descriptor()->FindFieldByName(kind.kName);
        Write(kind, *v1::Optimizer::GetReflection()->MutableMessage(&proto, field));
      },
      rule);
}

}  // namespace percentdelta
