// SPDX-License-Identifier: Apache-2.0

// How many bytes of values a shard has exchanged with workers.

#ifndef PERCENTDELTA_SERVER_SHARD_TRAFFIC_H_
#define PERCENTDELTA_SERVER_SHARD_TRAFFIC_H_

#include <atomic>
#include <cstdint>

namespace percentdelta {

// Thread-safe: counters that are added to once a chunk, in no order.
class Traffic {
 public:
  void Received(int64_t bytes, bool shared) { Add(shared ? shared_in_ : received_, bytes); }
  void Sent(int64_t bytes, bool shared) { Add(shared ? shared_out_ : sent_, bytes); }

  // Through connections.
  int64_t received() const { return received_.load(std::memory_order_relaxed); }
  int64_t sent() const { return sent_.load(std::memory_order_relaxed); }

  // Through shared memory: of gradients and of weights.
  int64_t shared_in() const { return shared_in_.load(std::memory_order_relaxed); }
  int64_t shared_out() const { return shared_out_.load(std::memory_order_relaxed); }

 private:
  static void Add(std::atomic<int64_t>& counter, int64_t bytes) {
    counter.fetch_add(bytes, std::memory_order_relaxed);
  }

  std::atomic<int64_t> received_{0};
  std::atomic<int64_t> sent_{0};
  std::atomic<int64_t> shared_in_{0};
  std::atomic<int64_t> shared_out_{0};
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_TRAFFIC_H_
