// SPDX-License-Identifier: Apache-2.0

// What a shard has done since its process started, through all generations. For metrics: nothing
// depends on it.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_COUNTERS_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_COUNTERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "common/base/duration_histogram.h"

namespace percentdelta {

// Thread-safe; the hot path adds without locks.
struct ShardCounters {
  using Count = std::atomic<int64_t>;

  // Of a slice's step: from the publication of its weights to its last gradient; the norms; the
  // change of weights.
  DurationHistogram staging;
  DurationHistogram phase_1;
  DurationHistogram phase_2;

  // Values, by transport.
  struct Bytes {
    Count grpc{0};
    Count shared_memory{0};
  };
  Bytes pushed;
  Bytes pulled;

  // Pushes that ended: with at least one new slice, with known ones only, with an error (by its
  // code).
  Count accepted{0};
  Count duplicate{0};
  static constexpr size_t kCodes = 17;
  std::array<Count, kCodes> refused = {};
};

// Adds without ordering anything else.
inline void Add(ShardCounters::Count& count, int64_t value) {
  count.fetch_add(value, std::memory_order_relaxed);
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_COUNTERS_H_
