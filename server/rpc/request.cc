// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/request.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/transport/chunk_codec.h"

namespace percentdelta {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kBytesOfARefusal = 64 << 10;
constexpr std::array<absl::string_view, 5> kTexts = {"failure", "problem", "error", "reason",
                                                     "message"};

absl::Status CheckName(const Limits& limits, const FieldDescriptor& field,
                       const std::string& name) {
  if (name.size() <= static_cast<size_t>(limits.name_bytes)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field.containing_type()->name(), ".", field.name(), ": expected at most ", limits.name_bytes,
      " bytes, got ", name.size(), "; shorten the name, or raise --limits=name_bytes="));
}

bool IsName(const FieldDescriptor& field) {
  return field.type() == FieldDescriptor::TYPE_STRING &&
         !absl::c_linear_search(kTexts, field.name());
}

// Whether a message of this type, or one in it, may contain a name. Our messages are not recursive.
bool MayContainNames(const google::protobuf::Descriptor& type) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (IsName(field)) return true;
    if (field.message_type() != nullptr && MayContainNames(*field.message_type())) return true;
  }
  return false;
}

absl::Status CheckField(const Limits& limits, const Message& request,
                        const FieldDescriptor& field) {
  const Reflection& reflection = *request.GetReflection();
  const bool is_message = field.message_type() != nullptr;
  // A request for norms may have very many messages without names.
  if (is_message ? !MayContainNames(*field.message_type()) : !IsName(field)) {
    return absl::OkStatus();
  }
  const int count = field.is_repeated() ? reflection.FieldSize(request, &field) : 1;
  for (int i = 0; i < count; ++i) {
    if (is_message) {
      RETURN_IF_ERROR(CheckNames(limits, field.is_repeated()
                                             ? reflection.GetRepeatedMessage(request, &field, i)
                                             : reflection.GetMessage(request, &field)));
      continue;
    }
    std::string scratch;
    RETURN_IF_ERROR(CheckName(
        limits, field,
        field.is_repeated() ? reflection.GetRepeatedStringReference(request, &field, i, &scratch)
                            : reflection.GetStringReference(request, &field, &scratch)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckNames(const Limits& limits, const Message& request) {
  std::vector<const FieldDescriptor*> fields;  // those that are set
  request.GetReflection()->ListFields(request, &fields);
  for (const FieldDescriptor* field : fields) {
    RETURN_IF_ERROR(CheckField(limits, request, *field));
  }
  return absl::OkStatus();
}

absl::Status DecodeRequest(const Limits& limits, Sender sender, const grpc::ByteBuffer& bytes,
                           Message& request) {
  const bool may_be_long = sender == Sender::kServer;
  const int max_bytes = may_be_long ? limits.message_bytes : limits.request_bytes;
  if (bytes.Length() > static_cast<size_t>(max_bytes)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        request.GetDescriptor()->name(), ": expected at most ", max_bytes, " bytes, got ",
        bytes.Length(), "; raise --limits=", may_be_long ? "message_bytes=" : "request_bytes="));
  }
  if (!DecodeMessage(bytes, request)) {
    return absl::InvalidArgumentError(absl::StrCat("expected a ", request.GetDescriptor()->name(),
                                                   ", got ", bytes.Length(),
                                                   " bytes that are not one"));
  }
  return CheckNames(limits, request);
}

int RefusalWeight(const grpc::ByteBuffer& request) {
  return 1 + static_cast<int>(request.Length() / kBytesOfARefusal);
}

}  // namespace percentdelta
