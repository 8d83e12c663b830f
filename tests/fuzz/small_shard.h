// SPDX-License-Identifier: Apache-2.0

// A shard of a tiny job, so that a gradient fits into a fuzzer's input.

#ifndef PERCENTDELTA_TESTS_FUZZ_SMALL_SHARD_H_
#define PERCENTDELTA_TESTS_FUZZ_SMALL_SHARD_H_

#include <memory>

#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "server/shard/shard.h"

namespace percentdelta {

inline constexpr uint64_t kSmallGeneration = 1;

// Three tensors of 6, 3 and 1 entries, one slot a step.
Job TinyJob();

// The job's only shard, at step 0 of kSmallGeneration. Its updates run on a thread of its own.
class SmallShard {
 public:
  SmallShard();
  ~SmallShard();

  const Shard& shard() const { return shard_; }

 private:
  std::unique_ptr<ThreadPool> pool_;
  Shard shard_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_FUZZ_SMALL_SHARD_H_
