// SPDX-License-Identifier: Apache-2.0

// The job that a cluster trains, and the addresses of its shards.

#ifndef PERCENTDELTA_COMMON_CLUSTER_CLUSTER_INFO_H_
#define PERCENTDELTA_COMMON_CLUSTER_CLUSTER_INFO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/job/job.h"

namespace percentdelta {

struct ClusterInfo {
  Job job;
  std::string job_hash;                      // hexadecimal SHA-256
  uint64_t generation = 0;                   // 0: shards are still gathering
  std::vector<std::string> shard_addresses;  // "host:port" by index; empty while gathering
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_CLUSTER_INFO_H_
