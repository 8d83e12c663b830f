#include "worker/data/dataset.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace percentdelta {

void GatherBatch(const Dataset& dataset, absl::Span<const int64_t> examples, Batch& batch) {
  const int64_t pixels = int64_t{dataset.rows} * dataset.columns;
  batch.count = static_cast<int64_t>(examples.size());
  batch.rows = dataset.rows;
  batch.columns = dataset.columns;
  batch.pixels.resize(examples.size() * pixels);
  batch.labels.resize(examples.size());
  for (size_t i = 0; i < examples.size(); ++i) {
    const uint8_t* from = dataset.pixels.data() + examples[i] * pixels;
    float* to = batch.pixels.data() + i * pixels;
    for (int64_t j = 0; j < pixels; ++j) to[j] = static_cast<float>(from[j]) / 255.0F;
    batch.labels[i] = dataset.labels[examples[i]];
  }
}

int32_t WordAt(const Batch& batch, int64_t example, int64_t index) {
  const float* pixels = batch.pixels.data() + example * batch.rows * batch.columns + 2 * index;
  const auto byte = [](float pixel) { return static_cast<int32_t>(std::lround(pixel * 255.0F)); };
  return byte(pixels[0]) * 256 + byte(pixels[1]);
}

}  // namespace percentdelta
