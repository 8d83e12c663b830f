// SPDX-License-Identifier: Apache-2.0

#include "server/update/optimizer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <variant>

#include "common/base/vectorized.h"
#include "server/update/schedule.h"
#include "server/update/stages.h"

namespace percentdelta {
namespace {

// Entries whose deltas are held at a time: small enough for the first cache. A multiple of the
// lanes of MagnitudeSum and DeltaNormSum.
constexpr size_t kPiece = 1024;

void Scale(double factor, const float* __restrict gradient, size_t count,
           double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) delta[i] = factor * gradient[i];
}

void Multiply(double factor, size_t count, double* __restrict delta) {
  for (size_t i = 0; i < count; ++i) delta[i] *= factor;
}

StateSpans Piece(const StateSpans& state, size_t begin, size_t count) {
  StateSpans piece;
  for (const absl::Span<float> array : state) piece.push_back(array.subspan(begin, count));
  return piece;
}

}  // namespace

Optimizer::Optimizer(Rule rule) : rule_(std::move(rule)) {
  if (const auto* scaling = std::get_if<std::unique_ptr<const ScalingRule>>(&rule_)) {
    scaling_ = scaling->get();
  } else if (const auto* rescaled = std::get_if<std::unique_ptr<const RescaledRule>>(&rule_)) {
    rescaled_ = rescaled->get();
    elementwise_ = rescaled_;
    delta_l1_ = DeltaL1::kBefore;
  } else {
    elementwise_ = std::get<std::unique_ptr<const ElementwiseRule>>(rule_).get();
    delta_l1_ = DeltaL1::kAfter;
  }
}

double Optimizer::epsilon() const {
  constexpr double kUnused = 1e-6;  // elementwise rules do not use NormSums::ratio_l1
  return scaling_ != nullptr ? scaling_->epsilon() : kUnused;
}

std::vector<std::string> Optimizer::state_names() const {
  return elementwise_ != nullptr ? elementwise_->state_names() : std::vector<std::string>();
}

double Optimizer::Multiplier(const TensorContext& context) const {
  return scaling_->Multiplier(context) * context.gradient_scale;
}

void Optimizer::Delta(const TensorContext& context, absl::Span<const float> gradient,
                      absl::Span<const float> weights, const StateSpans& state,
                      absl::Span<double> delta) const {
  if (elementwise_ != nullptr) {
    elementwise_->Delta(context, gradient, weights, state, delta);
  } else {
    const double factor = context.rate * scaling_->Multiplier(context) * context.gradient_scale;
    Vectorized<Scale>(factor, gradient.data(), gradient.size(), delta.data());
  }
}

double Optimizer::Factor(const TensorContext& context) const {
  return rescaled_ != nullptr ? rescaled_->Factor(context) : 1;
}

std::unique_ptr<Optimizer> MakeOptimizer(const UpdateRule& rule) {
  return std::make_unique<Optimizer>(
      std::visit([](const auto& kind) { return MakeRule(kind); }, rule));
}

std::vector<std::string> StateNames(const Job& job) {
  std::vector<std::string> names = MakeOptimizer(job.optimizer.rule)->state_names();
  if (job.momentum.any()) names.emplace_back("velocity");
  return names;
}

std::vector<std::string> StateNames(const Job& job, const TensorSpec& tensor) {
  return tensor.buffer ? std::vector<std::string>() : StateNames(job);
}

StateSpans StateRange(absl::Span<std::vector<float>> arrays, int64_t begin, int64_t count) {
  StateSpans range;
  for (std::vector<float>& array : arrays) {
    range.push_back(absl::MakeSpan(array).subspan(begin, count));
  }
  return range;
}

TensorContext MakeTensorContext(const Job& job, int64_t step, int64_t entries,
                                const NormSums& norms) {
  TensorContext context;
  context.rate = job.optimizer.learning_rate * Gamma(job.schedule, step);
  context.entries = entries;
  context.step = step;
  if (job.gradient_clipping) context.gradient_scale = ClippingScale(*job.gradient_clipping, norms);
  context.norms = ScaleGradient(norms, context.gradient_scale);
  return context;
}

DeltaNorms ProposedNorms(const Optimizer& optimizer, const TensorContext& context,
                         absl::Span<const float> gradient, absl::Span<const float> weights,
                         const StateSpans& state) {
  std::array<double, kPiece> buffer;
  std::vector<std::vector<float>> dropped(state.size(), std::vector<float>(kPiece));
  DeltaNormSum sum;
  for (size_t begin = 0; begin < gradient.size(); begin += kPiece) {
    const size_t count = std::min(kPiece, gradient.size() - begin);
    const absl::Span<double> delta(buffer.data(), count);
    for (size_t i = 0; i < state.size(); ++i) {
      std::copy_n(state[i].begin() + begin, count, dropped[i].begin());
    }
    optimizer.Delta(context, gradient.subspan(begin, count), weights.subspan(begin, count),
                    StateRange(absl::MakeSpan(dropped), 0, count), delta);
    sum.Add(delta);
  }
  return sum.Total();
}

double UpdateEntries(const Optimizer& optimizer, const Job& job, const TensorContext& context,
                     absl::Span<const float> gradient, absl::Span<const float> weights,
                     const StateSpans& state, absl::Span<float> next) {
  std::array<double, kPiece> buffer;
  const bool sums_delta = optimizer.delta_l1() == Optimizer::DeltaL1::kAfter;
  const double factor = optimizer.Factor(context);
  MagnitudeSum delta_l1;
  for (size_t begin = 0; begin < gradient.size(); begin += kPiece) {
    const size_t count = std::min(kPiece, gradient.size() - begin);
    const absl::Span<double> delta(buffer.data(), count);
    const absl::Span<const float> current = weights.subspan(begin, count);
    const absl::Span<float> after = next.subspan(begin, count);
    const StateSpans piece = Piece(state, begin, count);
    optimizer.Delta(context, gradient.subspan(begin, count), current, piece, delta);
    if (sums_delta) delta_l1.Add(delta);
    if (optimizer.needs_delta_norms()) Vectorized<Multiply>(factor, count, delta.data());
    if (job.momentum.any() && !job.momentum.nesterov && !job.weight_decay) {
      MoveByVelocity(job.momentum, delta, current, piece.back(), after);
      continue;
    }
    if (job.momentum.any()) ApplyMomentum(job.momentum, piece.back(), delta);
    if (job.weight_decay) AddWeightDecay(context.rate * job.weight_decay->rate, current, delta);
    Move(delta, current, after);
  }
  return delta_l1.Total();
}

}  // namespace percentdelta
