// The gradients of a convolution: see Kernels::conv_backward_weights and conv_backward_input. Only
// for kernels_impl.h, which includes it inside the namespace of an instruction set.
//
// Of a pooling window's four positions only the winner carries gradient, and none where the ReLU
// was closed. So each channel of a window has at most one product with a patch of the input, or
// with a row of weights. Those that there are are marked by bits, as in mat_mul.h.

constexpr int64_t kBits = 64;  // windows, or channels, that are marked at a time

// A channel's gradient at one position of a window, and the place of what it is multiplied with.
struct Summand {
  int32_t offset;
  float gradient;
};

// The windows [first, first + count) of an image, row-major.
struct WindowBlock {
  int64_t first;
  int64_t count;            // at most kBits
  int64_t gradient[kBits];  // offsets of their gradients
  int64_t input[kBits];     // and of their first positions' pixels in an image with border
};

WindowBlock BlockOfWindows(const ConvShape& shape, int64_t output_row_stride, int64_t first) {
  const int64_t row_windows = shape.width / 2;
  WindowBlock block;
  block.first = first;
  block.count = Min(kBits, shape.height / 2 * row_windows - first);
  for (int64_t k = 0; k < block.count; ++k) {
    const int64_t y = (first + k) / row_windows;
    const int64_t x = (first + k) % row_windows;
    block.gradient[k] = y * output_row_stride + x * shape.out_channels;
    block.input[k] = 2 * y * shape.input_row_stride + 2 * x * shape.in_channels;
  }
  return block;
}

// Sets bit `bit` of each channel that carries gradient. Inlined, GCC would use no vectors.
[[gnu::noinline]] void MarkChannels(const float* gradient, const uint8_t* winners, int64_t channels,
                                    int64_t bit, uint64_t* __restrict marks) {
  for (int64_t c = 0; c < channels; ++c) {
    const bool passes = (winners[c] != kNoWinner) & (gradient[c] != 0);  // no branch
    marks[c] |= uint64_t{passes} << bit;
  }
}

// to[r * to_stride + j] += sum over the summands s of s.gradient * from[s.offset + r * from_stride
// + j].
template <int kRows, int kVectors>
void AddBlock(const Summand* summands, int64_t count, const float* from, int64_t from_stride,
              float* to, int64_t to_stride) {
  Vector sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Load(to + r * to_stride + v * kLanes);
  }
  for (int64_t s = 0; s < count; ++s) {
    const Vector gradient = Broadcast(summands[s].gradient);
    const float* row = from + summands[s].offset;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = MulAdd(gradient, Load(row + r * from_stride + v * kLanes), sum[r][v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) Store(to + r * to_stride + v * kLanes, sum[r][v]);
  }
}

// Calls add(vectors, first vector) for parts of `vectors`, each as large as registers can hold; the
// first argument is a constant.
template <int kVectors>
struct Vectors {
  static constexpr int kCount = kVectors;
};
template <typename Add>
void ForParts(int64_t vectors, const Add& add) {
  int64_t v = 0;
  for (; v + 10 <= vectors; v += 10) add(Vectors<10>(), v);
  for (; v + 5 <= vectors; v += 5) add(Vectors<5>(), v);
  for (; v + 2 <= vectors; v += 2) add(Vectors<2>(), v);
  for (; v < vectors; ++v) add(Vectors<1>(), v);
}

void ConvBackwardWeights(const ConvShape& shape, const float* input, const float* gradient,
                         int64_t gradient_row_stride, const uint8_t* winners, float* weight_sums,
                         float* bias_sums) {
  const int64_t channels = shape.out_channels;
  const int64_t kernel_row = RoundUp(shape.kernel * shape.in_channels, kPadding);
  const int64_t windows = shape.height / 2 * (shape.width / 2);
  const int64_t positions[4] = {0, shape.in_channels, shape.input_row_stride,
                                shape.input_row_stride + shape.in_channels};
  constexpr int64_t kChannels = 128;  // at a time
  for (int64_t first = 0; first < windows; first += kBits) {
    const WindowBlock block = BlockOfWindows(shape, gradient_row_stride, first);
    for (int64_t begin = 0; begin < channels; begin += kChannels) {
      const int64_t count = Min(kChannels, channels - begin);
      uint64_t live[kChannels] = {};  // bit k: window k carries gradient
      for (int64_t k = 0; k < block.count; ++k) {
        MarkChannels(gradient + block.gradient[k] + begin, winners + (first + k) * channels + begin,
                     count, k, live);
      }
      for (int64_t c = 0; c < count; ++c) {
        Summand summands[kBits];
        int64_t size = 0;
        float bias = bias_sums[begin + c];
        for (uint64_t bits = live[c]; bits != 0; bits &= bits - 1) {
          const int64_t k = __builtin_ctzll(bits);
          const uint8_t winner = winners[(first + k) * channels + begin + c];
          const float value = gradient[block.gradient[k] + begin + c];
          summands[size++] = {static_cast<int32_t>(block.input[k] + positions[winner]), value};
          bias += value;
        }
        bias_sums[begin + c] = bias;
        float* to = weight_sums + (begin + c) * shape.kernel * kernel_row;
        ForParts(kernel_row / kLanes, [&](auto part, int64_t v) {
          constexpr int kPart = decltype(part)::kCount;
          const float* a = input + v * kLanes;
          int64_t row = 0;
          for (; kPart <= 2 && row + 5 <= shape.kernel; row += 5) {  // to have enough sums
            AddBlock<kPart <= 2 ? 5 : 1, kPart>(summands, size, a + row * shape.input_row_stride,
                                                shape.input_row_stride,
                                                to + row * kernel_row + v * kLanes, kernel_row);
          }
          for (; row < shape.kernel; ++row) {
            AddBlock<1, kPart>(summands, size, a + row * shape.input_row_stride, 0,
                               to + row * kernel_row + v * kLanes, 0);
          }
        });
      }
    }
  }
}

// to (kVectors vectors) += sum over the marked channels c, in order, of gradient[c] * their rows.
template <int kVectors>
void AddRows(uint64_t marked, const float* gradient, const float* rows, int64_t row_stride,
             float* to) {
  Vector sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = Load(to + v * kLanes);
  for (; marked != 0; marked &= marked - 1) {
    const int64_t c = __builtin_ctzll(marked);
    const Vector factor = Broadcast(gradient[c]);
    const float* row = rows + c * row_stride;
    for (int v = 0; v < kVectors; ++v) sum[v] = MulAdd(factor, Load(row + v * kLanes), sum[v]);
  }
  for (int v = 0; v < kVectors; ++v) Store(to + v * kLanes, sum[v]);
}

void ConvBackwardInput(const ConvShape& shape, const float* weights, const float* gradient,
                       int64_t gradient_row_stride, const uint8_t* winners, float* input_gradient) {
  const int64_t channels = shape.out_channels;
  const int64_t kernel_row = RoundUp(shape.kernel * shape.in_channels, kPadding);
  const int64_t windows = shape.height / 2 * (shape.width / 2);
  const int64_t positions[4] = {0, shape.in_channels, shape.input_row_stride,
                                shape.input_row_stride + shape.in_channels};
  for (int64_t begin = 0; begin < channels; begin += kBits) {
    const int64_t count = Min(kBits, channels - begin);
    for (int64_t first = 0; first < windows; first += kBits) {
      const WindowBlock block = BlockOfWindows(shape, gradient_row_stride, first);
      uint64_t marked[kBits][4] = {};  // bit c: channel c's winner is the position
      for (int64_t k = 0; k < block.count; ++k) {
        const float* from = gradient + block.gradient[k] + begin;
        const uint8_t* winner = winners + (first + k) * channels + begin;
        for (int64_t position = 0; position < 4; ++position) {
          uint64_t bits = 0;
          for (int64_t c = 0; c < count; ++c) {
            const bool passes = (winner[c] == position) & (from[c] != 0);
            bits |= uint64_t{passes} << c;
          }
          marked[k][position] = bits;
        }
      }
      // Row by row of the kernel: that many of the weights stay in the nearest caches.
      for (int64_t row = 0; row < shape.kernel; ++row) {
        const float* rows = weights + row * channels * kernel_row + begin * kernel_row;
        for (int64_t k = 0; k < block.count; ++k) {
          const float* from = gradient + block.gradient[k] + begin;
          float* to = input_gradient + block.input[k] + row * shape.input_row_stride;
          for (int64_t position = 0; position < 4; ++position) {
            if (marked[k][position] == 0) continue;
            ForParts(kernel_row / kLanes, [&](auto part, int64_t v) {
              AddRows<decltype(part)::kCount>(marked[k][position], from, rows + v * kLanes,
                                              kernel_row, to + positions[position] + v * kLanes);
            });
          }
        }
      }
    }
  }
}
