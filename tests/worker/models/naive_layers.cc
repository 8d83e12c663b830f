// SPDX-License-Identifier: Apache-2.0

#include "tests/worker/models/naive_layers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "common/base/random.h"

namespace percentdelta {

Doubles NaiveConv(const Doubles& image, int64_t height, int64_t width, const Doubles& weights,
                  int64_t kernel, int64_t in, int64_t out) {
  Doubles result(height * width * out);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t ky = 0; ky < kernel; ++ky) {
        for (int64_t kx = 0; kx < kernel; ++kx) {
          const int64_t from_y = y + ky - kernel / 2;
          const int64_t from_x = x + kx - kernel / 2;
          if (from_y < 0 || from_y >= height || from_x < 0 || from_x >= width) continue;
          for (int64_t i = 0; i < in; ++i) {
            for (int64_t o = 0; o < out; ++o) {
              result[(y * width + x) * out + o] += image[(from_y * width + from_x) * in + i] *
                                                   weights[((ky * kernel + kx) * in + i) * out + o];
            }
          }
        }
      }
    }
  }
  return result;
}

Doubles NaiveBias(const Doubles& values, const Doubles& biases) {
  Doubles result = values;
  for (size_t i = 0; i < result.size(); ++i) result[i] += biases[i % biases.size()];
  return result;
}

Doubles NaiveRelu(const Doubles& values) {
  Doubles result = values;
  for (double& value : result) value = std::max(value, 0.0);
  return result;
}

Doubles NaivePool(const Doubles& image, int64_t height, int64_t width, int64_t channels) {
  Doubles result;
  const auto at = [&](int64_t y, int64_t x, int64_t c) {
    return image[(y * width + x) * channels + c];
  };
  for (int64_t y = 0; y < height; y += 2) {
    for (int64_t x = 0; x < width; x += 2) {
      for (int64_t c = 0; c < channels; ++c) {
        result.push_back(
            std::max({at(y, x, c), at(y, x + 1, c), at(y + 1, x, c), at(y + 1, x + 1, c)}));
      }
    }
  }
  return result;
}

Doubles NaiveMatMul(const Doubles& x, const Doubles& weights, int64_t outputs) {
  Doubles result(outputs);
  for (size_t i = 0; i < x.size(); ++i) {
    for (int64_t o = 0; o < outputs; ++o) result[o] += x[i] * weights[i * outputs + o];
  }
  return result;
}

double NaiveLoss(const Doubles& logits, int label) {
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit);
  return -std::log(std::exp(logits[label]) / sum);
}

double NaiveCnnLoss(const CnnGeometry& g, const std::vector<Doubles>& weights, const Batch& batch,
                    const Doubles& fc1_factors) {
  double sum = 0;
  const int64_t pixels = g.height * g.width;
  for (int64_t n = 0; n < batch.count; ++n) {
    Doubles values(batch.pixels.begin() + n * pixels, batch.pixels.begin() + (n + 1) * pixels);
    values = NaiveConv(values, g.height, g.width, weights[0], g.kernel, 1, g.conv1_channels);
    values = NaiveRelu(NaiveBias(values, weights[1]));
    values = NaivePool(values, g.height, g.width, g.conv1_channels);
    values = NaiveConv(values, g.height / 2, g.width / 2, weights[2], g.kernel, g.conv1_channels,
                       g.conv2_channels);
    values = NaiveRelu(NaiveBias(values, weights[3]));
    values = NaivePool(values, g.height / 2, g.width / 2, g.conv2_channels);
    values = NaiveRelu(NaiveBias(NaiveMatMul(values, weights[4], g.fc1_outputs), weights[5]));
    for (int64_t u = 0; u < g.fc1_outputs && !fc1_factors.empty(); ++u) {
      values[u] *= fc1_factors[n * g.fc1_outputs + u];
    }
    values = NaiveBias(NaiveMatMul(values, weights[6], g.classes), weights[7]);
    sum += NaiveLoss(values, batch.labels[n]);
  }
  return sum / static_cast<double>(batch.count);
}

double Difference(const std::function<double(const Doubles&)>& f, Doubles x, int64_t entry) {
  constexpr double kStep = 1e-5;
  const double middle = x[entry];
  x[entry] = middle + kStep;
  const double above = f(x);
  x[entry] = middle - kStep;
  const double below = f(x);
  return (above - below) / (2 * kStep);
}

Doubles ToDoubles(const std::vector<float>& values) {
  return Doubles(values.begin(), values.end());
}

std::vector<float> RandomFloats(uint64_t seed, int64_t count, float scale) {
  RandomStream random(seed, 0);
  std::vector<float> values(count);
  for (float& value : values) {
    value = scale * static_cast<float>(2 * random.Uniform() - 1);
  }
  return values;
}

void PrintTo(const Kernels* kernels, std::ostream* out) { *out << kernels->isa; }

std::string KernelsName(const testing::TestParamInfo<const Kernels*>& info) {
  return absl::StrReplaceAll(info.param->isa, {{"-", "_"}});
}

}  // namespace percentdelta
