// SPDX-License-Identifier: Apache-2.0

// Small trainings for the integration tests: the paper's network on a few synthetic images, or a
// synthetic model whose gradients the test itself pushes.

#ifndef PERCENTDELTA_TESTS_LOCAL_SMALL_CLUSTER_H_
#define PERCENTDELTA_TESTS_LOCAL_SMALL_CLUSTER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/cluster.h"
#include "client/shard_channels.h"
#include "common/cluster/lease.h"
#include "common/job/job.h"
#include "deploy/local/cluster.h"
#include "server/server.h"
#include "worker/data/dataset.h"

namespace percentdelta {

// The built-in job with small batches, on kTrainingImages and kTestImages synthetic images.
inline constexpr int64_t kTrainingImages = 200;
inline constexpr int64_t kTestImages = 40;
Job SmallMnistJob(int64_t steps);

// Returns 28x28 images of noise with a bright spot whose place depends on the label. Equal seeds
// give equal images.
std::shared_ptr<const Dataset> SyntheticDataset(int64_t images, uint64_t seed);

// Returns options of a cluster for SmallMnistJob, with its data sets.
LocalCluster::Options SmallOptions(Job job);

// Writes the same data sets as IDX files to the directory.
void WriteSmallDataSets(const std::string& directory);

// A job without an architecture, for gradients that the test supplies. Its tensors: one of several
// blocks, one slightly larger than a block, a vector, and a scalar.
Job MadeUpJob(int64_t steps);

// Servers over loopback, without workers. Their generation is open, and all shards are in it.
class ServersOnly {
 public:
  // `first_step`: where a training that has checkpoints continues.
  ServersOnly(const Job& job, int shards, int64_t first_step = 0);

  Server& server(int shard) { return servers_[shard]; }
  const std::string& coordinator() const { return servers_.front().address(); }
  const ClusterInfo& cluster_info() const { return cluster_info_; }
  const ShardChannels& channels() const { return *channels_; }

  // Returns the weights of `step` from all shards.
  Weights Pull(int64_t step) const;

  // Trains one step as a worker does, with random gradients.
  void TrainStep();

  // Pushes one slot's gradient to all shards, without a report to the coordinator.
  absl::Status Push(int64_t step, int32_t slot, const std::vector<std::vector<float>>& gradient);

 private:
  std::vector<Server> servers_;
  ClusterInfo cluster_info_;
  std::unique_ptr<ShardChannels> channels_;
  std::optional<Lease> lease_;  // of the next TrainStep
};

// Waits until the cluster opens a generation, and returns its description; fails the test after 30
// s.
ClusterInfo AwaitGeneration(const std::string& coordinator,
                            const std::shared_ptr<const ClientCredentials>& credentials = nullptr);

// Returns values uniform in [-1, 1) for each tensor of the model.
std::vector<std::vector<float>> RandomGradient(const ModelSpec& model, uint64_t seed);

// Returns the checksum of the weights of `step`, as a client pulls them; fails the test and returns
// "" if it cannot.
std::string ChecksumAt(const std::string& coordinator, int64_t step);

// Trains on such a cluster, and returns the checksum of the final weights.
std::string TrainAndChecksum(LocalCluster::Options options);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_LOCAL_SMALL_CLUSTER_H_
