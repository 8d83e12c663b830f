// SPDX-License-Identifier: Apache-2.0

// The layers of the network, written for clarity instead of speed: double precision, one loop for
// each index of the formula. Tests compare the worker's results with these and with their
// differences.

#ifndef PERCENTDELTA_TESTS_WORKER_MODELS_NAIVE_LAYERS_H_
#define PERCENTDELTA_TESTS_WORKER_MODELS_NAIVE_LAYERS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "worker/data/dataset.h"
#include "worker/kernels/kernels.h"
#include "worker/models/mnist_cnn.h"
#include "worker/models/model.h"

namespace percentdelta {

using Doubles = std::vector<double>;

// Convolves one image (height, width, in) with weights (kernel, kernel, in, out): "SAME", stride 1.
Doubles NaiveConv(const Doubles& image, int64_t height, int64_t width, const Doubles& weights,
                  int64_t kernel, int64_t in, int64_t out);

// biases.size() channels.
Doubles NaiveBias(const Doubles& values, const Doubles& biases);
Doubles NaiveRelu(const Doubles& values);
Doubles NaivePool(const Doubles& image, int64_t height, int64_t width, int64_t channels);

// x W for one example.
Doubles NaiveMatMul(const Doubles& x, const Doubles& weights, int64_t outputs);

double NaiveLoss(const Doubles& logits, int label);

// The mean loss of the network over the batch. `fc1_factors`, of dropout, multiply the outputs of
// fc1, example after example; empty: no dropout.
double NaiveCnnLoss(const CnnGeometry& geometry, const std::vector<Doubles>& weights,
                    const Batch& batch, const Doubles& fc1_factors = {});

// The central difference of f at x in the direction of x[entry]. Exact to about 1e-9 for functions
// of the order of 1 without a kink within 1e-5 of x.
double Difference(const std::function<double(const Doubles&)>& f, Doubles x, int64_t entry);

Doubles ToDoubles(const std::vector<float>& values);

// Uniform random floats from -scale to scale, a function of the seed.
std::vector<float> RandomFloats(uint64_t seed, int64_t count, float scale);

// Prints the parameter of a test by its instruction set: its address changes from run to run.
void PrintTo(const Kernels* kernels, std::ostream* out);

// The same as a part of the test's name, for INSTANTIATE_TEST_SUITE_P.
std::string KernelsName(const testing::TestParamInfo<const Kernels*>& info);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_WORKER_MODELS_NAIVE_LAYERS_H_
