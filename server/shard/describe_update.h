// SPDX-License-Identifier: Apache-2.0

// The statistics of a step of a tensor, from what its update computed.

#ifndef PERCENTDELTA_SERVER_SHARD_DESCRIBE_UPDATE_H_
#define PERCENTDELTA_SERVER_SHARD_DESCRIBE_UPDATE_H_

#include "common/cluster/statistics.h"
#include "common/job/job.h"
#include "server/update/norms.h"
#include "server/update/rule.h"

namespace percentdelta {

// All but the multiplier and the relative delta. `norms`: those before clipping.
TensorStatistics DescribeUpdate(const TensorSpec& tensor, const NormSums& norms,
                                const TensorContext& context);

// Adds these of a rule whose delta is rate * multiplier * g.
void SetMultiplier(TensorStatistics& statistics, double multiplier);

// Adds these of another rule, from ||delta||_1.
void SetDelta(TensorStatistics& statistics, double delta_l1);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_DESCRIBE_UPDATE_H_
