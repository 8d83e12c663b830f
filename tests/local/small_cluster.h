// What the integration tests train: the paper's network on a few synthetic images, or a made-up
// model whose gradients the test pushes itself.

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

// The built-in job with small batches, over SyntheticDataset(kTrainingImages) and (kTestImages).
inline constexpr int64_t kTrainingImages = 200;
inline constexpr int64_t kTestImages = 40;
Job SmallMnistJob(int64_t steps);

// 28x28 images of noise around a bright spot that depends on the label. The same for equal seeds.
std::shared_ptr<const Dataset> SyntheticDataset(int64_t images, uint64_t seed);

// A cluster for SmallMnistJob.
LocalCluster::Options SmallOptions(Job job);

// A job for gradients that the test makes up: a tensor of several blocks, one of a block and a
// bit, a vector, and one of a single entry; all small.
Job MadeUpJob(int64_t steps);

// Servers without workers, over loopback, that have opened their generation.
class ServersOnly {
 public:
  ServersOnly(const Job& job, int shards);

  Server& server(int shard) { return servers_[shard]; }
  const std::string& coordinator() const { return servers_.front().address(); }
  const ClusterInfo& cluster_job() const { return cluster_job_; }
  const ShardChannels& channels() const { return *channels_; }

  // Of exactly `step`, from all shards.
  Weights Pull(int64_t step) const;

  // Trains one step, the way a worker does, with random gradients.
  void TrainStep();

  // Pushes one slot's gradient to all shards, which the coordinator learns nothing of.
  absl::Status Push(int64_t step, int32_t slot, const std::vector<std::vector<float>>& gradient);

 private:
  std::vector<Server> servers_;
  ClusterInfo cluster_job_;
  std::unique_ptr<ShardChannels> channels_;
  std::optional<Lease> lease_;  // TrainStep's next
};

// Waits until the cluster has opened a generation; fails the test after 30 s.
ClusterInfo AwaitGeneration(const std::string& coordinator);

// Uniform in [-1, 1), of the model's shapes.
std::vector<std::vector<float>> RandomGradient(const ModelSpec& model, uint64_t seed);

// The fingerprint of the weights of `step`, as a client pulls them; fails the test and returns ""
// if it cannot.
std::string ChecksumAt(const std::string& coordinator, int64_t step);

// The fingerprint of the final weights of a training on such a cluster.
std::string TrainAndChecksum(LocalCluster::Options options);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_LOCAL_SMALL_CLUSTER_H_
