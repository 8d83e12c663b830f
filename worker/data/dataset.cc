// SPDX-License-Identifier: Apache-2.0

#include "worker/data/dataset.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/sha256.h"

namespace percentdelta {
namespace {

constexpr size_t kHashedAtOnce = 1 << 22;  // bytes, between calls of `cancelled`

void Hash(int64_t number, Sha256& sha256) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) {
    bytes += static_cast<char>(static_cast<uint64_t>(number) >> shift & 0xff);
  }
  sha256.Update(bytes);
}

// Returns false if it was cancelled.
bool Hash(const std::vector<uint8_t>& bytes, const std::function<bool()>& cancelled,
          Sha256& sha256) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (size_t begin = 0; begin < text.size(); begin += kHashedAtOnce) {
    if (cancelled && cancelled()) return false;
    sha256.Update(text.substr(begin, kHashedAtOnce));
  }
  return true;
}

bool Hash(const Dataset& dataset, const std::function<bool()>& cancelled, Sha256& sha256) {
  Hash(dataset.count, sha256);
  Hash(dataset.rows, sha256);
  Hash(dataset.columns, sha256);
  Hash(dataset.classes, sha256);
  return Hash(dataset.pixels, cancelled, sha256) && Hash(dataset.labels, cancelled, sha256);
}

}  // namespace

std::string DataFingerprint(const Dataset& training, const Dataset* test,
                            const std::function<bool()>& cancelled) {
  Sha256 sha256;
  if (!Hash(training, cancelled, sha256)) return "";
  if (test != nullptr && !Hash(*test, cancelled, sha256)) return "";
  return sha256.Hex();
}

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

int32_t WordAt(const Dataset& dataset, int64_t example, int64_t index) {
  const uint8_t* bytes =
      dataset.pixels.data() + example * dataset.rows * dataset.columns + 2 * index;
  return bytes[0] * 256 + bytes[1];
}

}  // namespace percentdelta
