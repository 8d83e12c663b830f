// SPDX-License-Identifier: Apache-2.0

// The mean of a step's gradients: the slots' sum, in slot order and in double.

#ifndef PERCENTDELTA_SERVER_SHARD_SLOT_SUM_H_
#define PERCENTDELTA_SERVER_SHARD_SLOT_SUM_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/shard/buffer_pool.h"

namespace percentdelta {

// Adds the gradients' entries from `begin` on to `sum`, that of the previous slots, slot by slot.
// `first`: there are no previous slots.
void AddSlots(const std::vector<Buffer>& gradients, bool first, int64_t begin,
              absl::Span<double> sum);

// Writes sum / slots to `mean`.
void Divide(absl::Span<const double> sum, int32_t slots, absl::Span<float> mean);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SLOT_SUM_H_
