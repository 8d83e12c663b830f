// SPDX-License-Identifier: Apache-2.0

#include "common/job/initializer_codec.h"

#include <type_traits>
#include <variant>

namespace percentdelta {
namespace {

using Kind = ScaledInitializer::Kind;

ScaledInitializer ScaledFromProto(Kind kind, const v1::Initializer::Scaled& proto) {
  return {kind, static_cast<Layout>(proto.layout()), proto.has_gain() ? proto.gain() : 1};
}

v1::Initializer::Scaled& MutableScaled(Kind kind, v1::Initializer& proto) {
  switch (kind) {
    case Kind::kGlorotUniform:
      return *proto.mutable_glorot_uniform();
    case Kind::kGlorotNormal:
      return *proto.mutable_glorot_normal();
    case Kind::kHeUniform:
      return *proto.mutable_he_uniform();
    case Kind::kHeNormal:
      break;
  }
  return *proto.mutable_he_normal();
}

void Write(const ConstantInitializer& constant, v1::Initializer& proto) {
  proto.mutable_constant()->set_value(constant.value);
}

void Write(const TruncatedNormalInitializer& normal, v1::Initializer& proto) {
  proto.mutable_truncated_normal()->set_stddev(normal.stddev);
}

void Write(const UniformInitializer& uniform, v1::Initializer& proto) {
  proto.mutable_uniform()->set_low(uniform.low);
  proto.mutable_uniform()->set_high(uniform.high);
}

void Write(const NormalInitializer& normal, v1::Initializer& proto) {
  proto.mutable_normal()->set_mean(normal.mean);
  proto.mutable_normal()->set_stddev(normal.stddev);
}

void Write(const ScaledInitializer& scaled, v1::Initializer& proto) {
  v1::Initializer::Scaled& message = MutableScaled(scaled.kind, proto);
  message.set_layout(static_cast<v1::Initializer::Layout>(scaled.layout));
  message.set_gain(scaled.gain);
}

}  // namespace

Initializer InitializerFromProto(const v1::Tensor& proto, bool from_file) {
  if (from_file && !proto.has_initializer()) return FileInitializer{};
  const v1::Initializer& message = proto.initializer();
  switch (message.kind_case()) {
    case v1::Initializer::kTruncatedNormal:
      return TruncatedNormalInitializer{message.truncated_normal().stddev()};
    case v1::Initializer::kUniform:
      return UniformInitializer{message.uniform().low(), message.uniform().high()};
    case v1::Initializer::kNormal:
      return NormalInitializer{message.normal().mean(), message.normal().stddev()};
    case v1::Initializer::kGlorotUniform:
      return ScaledFromProto(Kind::kGlorotUniform, message.glorot_uniform());
    case v1::Initializer::kGlorotNormal:
      return ScaledFromProto(Kind::kGlorotNormal, message.glorot_normal());
    case v1::Initializer::kHeUniform:
      return ScaledFromProto(Kind::kHeUniform, message.he_uniform());
    case v1::Initializer::kHeNormal:
      return ScaledFromProto(Kind::kHeNormal, message.he_normal());
    case v1::Initializer::kConstant:
    case v1::Initializer::KIND_NOT_SET:
      break;
  }
  return ConstantInitializer{message.constant().value()};
}

void ToProto(const Initializer& initializer, v1::Tensor& proto) {
  std::visit(
      [&](const auto& kind) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(kind)>, FileInitializer>) {
          Write(kind, *proto.mutable_initializer());
        }
      },
      initializer);
}

}  // namespace percentdelta
