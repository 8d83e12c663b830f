// SPDX-License-Identifier: Apache-2.0

// The RPC Statistics.GetUpdateStatistics.

#ifndef PERCENTDELTA_SERVER_RPC_GET_UPDATE_STATISTICS_H_
#define PERCENTDELTA_SERVER_RPC_GET_UPDATE_STATISTICS_H_

#include "absl/status/status.h"
#include "percentdelta/v1/statistics.pb.h"
#include "server/coordinator/statistics_ring.h"

namespace percentdelta {

// Fills in the requested steps; if they do not fit into one message, only the newest of them.
// kInvalidArgument, kNotFound: the request is wrong; the message says how.
absl::Status GetUpdateStatistics(const StatisticsRing& ring,
                                 const v1::GetUpdateStatisticsRequest& request,
                                 v1::GetUpdateStatisticsResponse& response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_GET_UPDATE_STATISTICS_H_
