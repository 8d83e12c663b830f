// SPDX-License-Identifier: Apache-2.0

#include "tests/fuzz/message_maker.h"

#include <google/protobuf/descriptor.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace percentdelta {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kMaxRepeated = 3;
constexpr int kLongString = 100'000;

template <typename T>
T MakeNumber(FuzzedDataProvider& input) {
  if (input.ConsumeIntegralInRange<int>(0, 3) > 0) {
    return static_cast<T>(input.ConsumeIntegralInRange<int>(0, 9));
  }
  return input.PickValueInArray<T>({std::numeric_limits<T>::min(), std::numeric_limits<T>::max(),
                                    static_cast<T>(-1), input.ConsumeIntegral<T>()});
}

double MakeDouble(FuzzedDataProvider& input) {
  return input.PickValueInArray<double>(
      {0, 1, 0.5, -1, std::nan(""), std::numeric_limits<double>::infinity(),
       std::numeric_limits<double>::max(), input.ConsumeFloatingPoint<double>()});
}

std::string MakeString(FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange<int>(0, 9)) {
    case 0:
      return std::string(kLongString, 'x');
    case 1:
      return input.ConsumeRandomLengthString(16);
    case 2:
      return "localhost:5000";
    case 3:
      return "a/biases";
    case 4:
      return "b/scalar";
    case 5:
      return "line\nbreak\x1b[0m";
    case 6:
      return "";
    default:
      return "a/weights";
  }
}

void AddValue(FuzzedDataProvider& input, const FieldDescriptor& field, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  const bool many = field.is_repeated();
  switch (field.cpp_type()) {
#define PD_FUZZ_FIELD(type, name, value)                  \
  case FieldDescriptor::type:                             \
    many ? reflection.Add##name(&message, &field, value)  \
         : reflection.Set##name(&message, &field, value); \
    break
    PD_FUZZ_FIELD(CPPTYPE_INT32, Int32, MakeNumber<int32_t>(input));
    PD_FUZZ_FIELD(CPPTYPE_INT64, Int64, MakeNumber<int64_t>(input));
    PD_FUZZ_FIELD(CPPTYPE_UINT32, UInt32, MakeNumber<uint32_t>(input));
    PD_FUZZ_FIELD(CPPTYPE_UINT64, UInt64, MakeNumber<uint64_t>(input));
    PD_FUZZ_FIELD(CPPTYPE_DOUBLE, Double, MakeDouble(input));
    PD_FUZZ_FIELD(CPPTYPE_FLOAT, Float, static_cast<float>(MakeDouble(input)));
    PD_FUZZ_FIELD(CPPTYPE_BOOL, Bool, input.ConsumeBool());
    PD_FUZZ_FIELD(CPPTYPE_ENUM, EnumValue, input.ConsumeIntegralInRange<int>(-1, 9));
    PD_FUZZ_FIELD(CPPTYPE_STRING, String, MakeString(input));
#undef PD_FUZZ_FIELD
    case FieldDescriptor::CPPTYPE_MESSAGE:
      FillMessage(input, many ? *reflection.AddMessage(&message, &field)
                              : *reflection.MutableMessage(&message, &field));
      break;
  }
}

}  // namespace

void FillMessage(FuzzedDataProvider& input, Message& message) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count() && input.remaining_bytes() > 0; ++i) {
    const FieldDescriptor& field = *type.field(i);
    const int count = input.ConsumeIntegralInRange<int>(0, field.is_repeated() ? kMaxRepeated : 1);
    for (int each = 0; each < count; ++each) AddValue(input, field, message);
  }
}

}  // namespace percentdelta
