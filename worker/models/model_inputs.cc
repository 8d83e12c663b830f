// SPDX-License-Identifier: Apache-2.0

#include "worker/models/model_inputs.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"

namespace percentdelta {
namespace {

std::string ShapeName(const std::vector<int64_t>& shape) {
  const auto append_size = [](std::string* out, int64_t size) {
    size == kAnySize ? absl::StrAppend(out, "any") : absl::StrAppend(out, size);
  };
  return absl::StrCat("[", absl::StrJoin(shape, ", ", append_size), "]");
}

// Checks a batch or a data set; `what` names it in messages.
template <typename Examples>
absl::Status CheckParts(absl::string_view what, const Examples& examples, int64_t classes) {
  if (examples.count < 1) return absl::InvalidArgumentError(absl::StrCat(what, " without images"));
  const int64_t pixels = examples.count * examples.rows * examples.columns;
  if (examples.pixels.size() != static_cast<size_t>(pixels) ||
      examples.labels.size() != static_cast<size_t>(examples.count)) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " of ", examples.count, " images with ", examples.pixels.size(),
                     " pixels (expected ", pixels, ") and ", examples.labels.size(), " labels"));
  }
  for (int64_t i = 0; i < examples.count; ++i) {
    if (examples.labels[i] < classes) continue;
    return absl::InvalidArgumentError(absl::StrCat("label ", examples.labels[i], " of image ", i,
                                                   "; the model has ", classes, " classes"));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t NamedShape::size() const {
  int64_t size = 1;
  for (const int64_t dimension : shape) size *= dimension;
  return size;
}

int64_t SizeInJob(const ModelSpec& spec, absl::string_view tensor, size_t dimensions,
                  size_t dimension) {
  const int index = spec.Find(tensor);
  if (index < 0 || spec.tensors[index].shape.size() != dimensions) return kAnySize;
  return spec.tensors[index].shape[dimension];
}

absl::Status CheckTensors(const ModelSpec& spec, absl::Span<const NamedShape> expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string wanted =
        absl::StrCat("architecture \"", spec.architecture, "\", tensor ", i, ": expected \"",
                     expected[i].name, "\" of shape ", ShapeName(expected[i].shape), ", got ");
    if (i >= spec.tensors.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(wanted, "the end of the job's ", spec.tensors.size(), " tensors"));
    }
    const TensorSpec& got = spec.tensors[i];
    if (got.name != expected[i].name || got.shape != expected[i].shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(wanted, "\"", got.name, "\" of shape ", ShapeName(got.shape)));
    }
    if (got.buffer) {
      return absl::InvalidArgumentError(
          absl::StrCat(wanted, "a buffer, which is not trained; remove `buffer: true`"));
    }
  }
  if (spec.tensors.size() > expected.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("architecture \"", spec.architecture, "\": expected ", expected.size(),
                     " tensors, got ", spec.tensors.size(), ", the first too many being \"",
                     spec.tensors[expected.size()].name, "\""));
  }
  return absl::OkStatus();
}

absl::Status AwaitWeights(absl::Span<const NamedShape> tensors, int tensor,
                          const TensorValues& weights, const TensorHooks& hooks) {
  if (hooks.await_weights) {
    RETURN_IF_ERROR(hooks.await_weights(tensor));
  }
  const int64_t expected = tensors[tensor].size();
  const size_t got = static_cast<size_t>(tensor) < weights.size() ? weights[tensor].size() : 0;
  if (got == static_cast<size_t>(expected)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("weights of \"", tensors[tensor].name,
                                                 "\": expected ", expected, " entries, got ", got));
}

absl::Status CheckBatch(const Batch& batch, int64_t classes) {
  return CheckParts("a batch", batch, classes);
}

absl::Status CheckExamples(const Dataset& dataset, int64_t classes) {
  return CheckParts("a data set", dataset, classes);
}

void RoundTo(absl::Span<const double> sums, std::vector<float>& gradient) {
  for (size_t i = 0; i < sums.size(); ++i) gradient[i] = static_cast<float>(sums[i]);
}

}  // namespace percentdelta
