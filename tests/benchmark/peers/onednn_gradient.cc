// SPDX-License-Identifier: Apache-2.0

// The paper's network on oneDNN primitives, combined by hand: the library chooses the layouts, ReLU
// is fused into the convolutions and dense layers, and the weights stay in their layouts. Computes
// every product of a batch of 500, forward and backward: the best that a library of dense kernels
// offers.
//
// A peer of the benchmarks (peer.h). The argument is the number of threads.

#include <omp.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"

namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using Dims = memory::dims;
using Tag = memory::format_tag;
using Arguments = std::unordered_map<int, memory>;

constexpr memory::dim kBatch = 500;

dnnl::engine& Engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

memory::desc Any(const Dims& dims) { return {dims, memory::data_type::f32, Tag::any}; }
memory::desc Flat(const Dims& dims, Tag tag) { return {dims, memory::data_type::f32, tag}; }

memory Filled(const memory::desc& desc) {
  memory result(desc, Engine());
  auto* values = static_cast<float*>(result.get_data_handle());
  for (size_t i = 0; i < desc.get_size() / sizeof(float); ++i) {
    values[i] = 0.01F * static_cast<float>(i * 7919 % 101) - 0.5F;
  }
  return result;
}

dnnl::primitive_attr WithRelu() {
  dnnl::post_ops operations;
  operations.append_eltwise(1, algorithm::eltwise_relu, 0, 0);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(operations);
  return attributes;
}

// The primitives of a step, in order.
class Program {
 public:
  void Add(const dnnl::primitive& primitive, Arguments arguments) {
    steps_.emplace_back(primitive, std::move(arguments));
  }

  // Returns the memory in another layout; the memory itself if it has that layout.
  memory In(const memory& from, const memory::desc& desc) {
    if (from.get_desc() == desc) return from;
    memory to(desc, Engine());
    Add(dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
    return to;
  }

  void Run(dnnl::stream& stream) {
    for (auto& [primitive, arguments] : steps_) primitive.execute(stream, arguments);
    stream.wait();
  }

 private:
  std::vector<std::pair<dnnl::primitive, Arguments>> steps_;
};

// Convolution with ReLU, then 2x2 max-pooling.
class ConvBlock {
 public:
  ConvBlock(Program& program, const memory& input, int in, int out, int size)
      : input_(input),
        forward_({prop_kind::forward_training, algorithm::convolution_direct,
                  Any({kBatch, in, size, size}), Any({out, in, 5, 5}), Any({out}),
                  Any({kBatch, out, size, size}), Dims{1, 1}, Dims{2, 2}, Dims{2, 2}},
                 WithRelu(), Engine()),
        weights_(Filled(forward_.weights_desc())),
        biases_(Filled(forward_.bias_desc())),
        sums_(forward_.dst_desc(), Engine()),
        pool_({prop_kind::forward_training, algorithm::pooling_max, forward_.dst_desc(),
               Any({kBatch, out, size / 2, size / 2}), Dims{2, 2}, Dims{2, 2}, Dims{0, 0},
               Dims{0, 0}},
              Engine()),
        winners_(pool_.workspace_desc(), Engine()),
        output_(pool_.dst_desc(), Engine()),
        in_(in),
        out_(out),
        size_(size) {
    input_ = program.In(input_, forward_.src_desc());
    program.Add(dnnl::convolution_forward(forward_), {{DNNL_ARG_SRC, input_},
                                                      {DNNL_ARG_WEIGHTS, weights_},
                                                      {DNNL_ARG_BIAS, biases_},
                                                      {DNNL_ARG_DST, sums_}});
    program.Add(dnnl::pooling_forward(pool_),
                {{DNNL_ARG_SRC, sums_}, {DNNL_ARG_DST, output_}, {DNNL_ARG_WORKSPACE, winners_}});
  }

  const memory& output() const { return output_; }

  // Returns the gradient of the input, if requested.
  memory Backward(Program& program, const memory& upstream, bool with_input) {
    const memory::desc sums = sums_.get_desc();
    const dnnl::pooling_backward::primitive_desc pool(
        {algorithm::pooling_max, sums, pool_.dst_desc(), Dims{2, 2}, Dims{2, 2}, Dims{0, 0},
         Dims{0, 0}},
        Engine(), pool_);
    memory of_pool(sums, Engine());
    program.Add(dnnl::pooling_backward(pool),
                {{DNNL_ARG_DIFF_DST, program.In(upstream, pool.diff_dst_desc())},
                 {DNNL_ARG_WORKSPACE, winners_},
                 {DNNL_ARG_DIFF_SRC, of_pool}});
    // From the result, which is positive where the input of ReLU is.
    const dnnl::eltwise_forward::primitive_desc relu_hint(
        {prop_kind::forward_training, algorithm::eltwise_relu, sums, 0, 0}, Engine());
    const dnnl::eltwise_backward::primitive_desc relu(
        {algorithm::eltwise_relu_use_dst_for_bwd, sums, sums, 0, 0}, Engine(), relu_hint);
    program.Add(
        dnnl::eltwise_backward(relu),
        {{DNNL_ARG_DST, sums_}, {DNNL_ARG_DIFF_DST, of_pool}, {DNNL_ARG_DIFF_SRC, of_pool}});
    const dnnl::convolution_backward_weights::primitive_desc weights(
        {algorithm::convolution_direct, Any({kBatch, in_, size_, size_}), Any({out_, in_, 5, 5}),
         Any({out_}), Any({kBatch, out_, size_, size_}), Dims{1, 1}, Dims{2, 2}, Dims{2, 2}},
        Engine(), forward_);
    program.Add(dnnl::convolution_backward_weights(weights),
                {{DNNL_ARG_SRC, program.In(input_, weights.src_desc())},
                 {DNNL_ARG_DIFF_DST, program.In(of_pool, weights.diff_dst_desc())},
                 {DNNL_ARG_DIFF_WEIGHTS, memory(weights.diff_weights_desc(), Engine())},
                 {DNNL_ARG_DIFF_BIAS, memory(weights.diff_bias_desc(), Engine())}});
    if (!with_input) return {};
    const dnnl::convolution_backward_data::primitive_desc data(
        {algorithm::convolution_direct, Any({kBatch, in_, size_, size_}), Any({out_, in_, 5, 5}),
         Any({kBatch, out_, size_, size_}), Dims{1, 1}, Dims{2, 2}, Dims{2, 2}},
        Engine(), forward_);
    memory of_input(data.diff_src_desc(), Engine());
    program.Add(dnnl::convolution_backward_data(data),
                {{DNNL_ARG_WEIGHTS, program.In(weights_, data.weights_desc())},
                 {DNNL_ARG_DIFF_DST, program.In(of_pool, data.diff_dst_desc())},
                 {DNNL_ARG_DIFF_SRC, of_input}});
    return of_input;
  }

 private:
  memory input_;
  dnnl::convolution_forward::primitive_desc forward_;
  memory weights_, biases_, sums_;
  dnnl::pooling_forward::primitive_desc pool_;
  memory winners_, output_;
  int in_, out_, size_;
};

class Dense {
 public:
  Dense(Program& program, const memory& input, int in, int out, bool relu)
      : input_(input),
        forward_({prop_kind::forward_training, Any({kBatch, in}), Any({out, in}), Any({out}),
                  Any({kBatch, out})},
                 relu ? WithRelu() : dnnl::primitive_attr(), Engine()),
        weights_(Filled(forward_.weights_desc())),
        biases_(Filled(forward_.bias_desc())),
        output_(forward_.dst_desc(), Engine()),
        in_(in),
        out_(out),
        relu_(relu) {
    input_ = program.In(input_, forward_.src_desc());
    program.Add(dnnl::inner_product_forward(forward_), {{DNNL_ARG_SRC, input_},
                                                        {DNNL_ARG_WEIGHTS, weights_},
                                                        {DNNL_ARG_BIAS, biases_},
                                                        {DNNL_ARG_DST, output_}});
  }

  const memory& output() const { return output_; }

  memory Backward(Program& program, memory upstream) {
    if (relu_) {
      const memory::desc outputs = output_.get_desc();
      const dnnl::eltwise_forward::primitive_desc hint(
          {prop_kind::forward_training, algorithm::eltwise_relu, outputs, 0, 0}, Engine());
      const dnnl::eltwise_backward::primitive_desc relu(
          {algorithm::eltwise_relu_use_dst_for_bwd, outputs, outputs, 0, 0}, Engine(), hint);
      upstream = program.In(upstream, outputs);
      program.Add(
          dnnl::eltwise_backward(relu),
          {{DNNL_ARG_DST, output_}, {DNNL_ARG_DIFF_DST, upstream}, {DNNL_ARG_DIFF_SRC, upstream}});
    }
    const dnnl::inner_product_backward_weights::primitive_desc weights(
        {Any({kBatch, in_}), Any({out_, in_}), Any({out_}), Any({kBatch, out_})}, Engine(),
        forward_);
    program.Add(dnnl::inner_product_backward_weights(weights),
                {{DNNL_ARG_SRC, program.In(input_, weights.src_desc())},
                 {DNNL_ARG_DIFF_DST, program.In(upstream, weights.diff_dst_desc())},
                 {DNNL_ARG_DIFF_WEIGHTS, memory(weights.diff_weights_desc(), Engine())},
                 {DNNL_ARG_DIFF_BIAS, memory(weights.diff_bias_desc(), Engine())}});
    const dnnl::inner_product_backward_data::primitive_desc data(
        {Any({kBatch, in_}), Any({out_, in_}), Any({kBatch, out_})}, Engine(), forward_);
    memory of_input(data.diff_src_desc(), Engine());
    program.Add(dnnl::inner_product_backward_data(data),
                {{DNNL_ARG_WEIGHTS, program.In(weights_, data.weights_desc())},
                 {DNNL_ARG_DIFF_DST, program.In(upstream, data.diff_dst_desc())},
                 {DNNL_ARG_DIFF_SRC, of_input}});
    return of_input;
  }

 private:
  memory input_;
  dnnl::inner_product_forward::primitive_desc forward_;
  memory weights_, biases_, output_;
  int in_, out_;
  bool relu_;
};

}  // namespace

int main(int argc, char** argv) {
  omp_set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  dnnl::stream stream(Engine());
  Program program;
  ConvBlock conv1(program, Filled(Flat({kBatch, 1, 28, 28}, Tag::nchw)), 1, 32, 28);
  ConvBlock conv2(program, conv1.output(), 32, 64, 14);
  // Dense layers need the pooled pixels in one row.
  const memory pixels = program.In(conv2.output(), Flat({kBatch, 64, 7, 7}, Tag::nhwc));
  const memory rows(Flat({kBatch, 3136}, Tag::nc), Engine(), pixels.get_data_handle());
  Dense fc1(program, rows, 3136, 1024, true);
  Dense fc2(program, fc1.output(), 1024, 10, false);
  // The outputs serve as their own gradient: the softmax of 5000 numbers takes no measurable time.
  const memory of_rows = program.In(fc1.Backward(program, fc2.Backward(program, fc2.output())),
                                    Flat({kBatch, 3136}, Tag::nc));
  const memory of_pixels(Flat({kBatch, 64, 7, 7}, Tag::nhwc), Engine(), of_rows.get_data_handle());
  conv1.Backward(program, conv2.Backward(program, of_pixels, true), false);

  program.Run(stream);
  std::string line;
  while (std::getline(std::cin, line)) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    program.Run(stream);
    std::cout << std::chrono::duration<double, std::milli>(Clock::now() - begin).count()
              << std::endl;
  }
}
