// SPDX-License-Identifier: Apache-2.0

#include "tests/server/test_jobs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>

#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/job/partition.h"
#include "server/shard/shard_coordinator.h"
#include "server/shard/shard_peers.h"
#include "tests/status_matchers.h"

namespace percentdelta {

Job SmallJob() {
  Job job;
  job.name = "small";
  job.model.architecture = "none";
  job.model.tensors = {
      {"a/weights", {3 * kBlockEntries + 100}, TruncatedNormalInitializer{0.1}},
      {"a/biases", {5}, ConstantInitializer{0.1}},
      {"b/scalar", {}, ConstantInitializer{-0.5}},
      {"b/weights", {128, 128}, TruncatedNormalInitializer{0.1}},
      {"c/zeros", {7, 3}, ConstantInitializer{0}},
  };
  job.optimizer = {0.03, PercentDeltaRule{1e-3}};
  job.schedule = {LinearDecay{0.01, 0.2}};
  job.momentum = {0.9, 0.9};
  job.gradients_per_step = 2;
  job.max_steps = 100;
  job.batch_size = 4;
  job.seed = 7;
  job.data = {40, 10};
  return job;
}

Job SmallLambJob() {
  Job job = SmallJob();
  job.optimizer = {0.01, LambRule{0.9, 0.99, 1e-6, 0.02, 9}};
  job.momentum = {};
  job.gradient_clipping = GradientClippingSpec{50};
  return job;
}

Gradient RandomGradient(const ModelSpec& model, uint64_t seed, int64_t step, int32_t slot) {
  Gradient gradient;
  for (size_t tensor = 0; tensor < model.tensors.size(); ++tensor) {
    RandomStream random(Hash64(seed, step), Hash64(slot, tensor));
    std::vector<float>& values = gradient.emplace_back(model.tensors[tensor].size());
    if ((step + static_cast<int64_t>(tensor)) % 11 == 3) continue;
    for (float& value : values) value = static_cast<float>(2 * random.Uniform() - 1);
    if (values.size() == 1) continue;
    for (size_t i = step % 7; i < values.size(); i += 7) values[i] = 0;
  }
  return gradient;
}

std::vector<double> AsDoubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

ReferenceRule ReferenceRuleOf(const Job& job) {
  ReferenceRule rule;
  rule.eta = job.optimizer.learning_rate;
  rule.rule = job.optimizer.rule;
  if (const auto* linear = std::get_if<LinearDecay>(&job.schedule.decay)) {
    rule.slope = linear->slope;
    rule.floor = linear->floor;
  } else if (const auto* step = std::get_if<StepDecay>(&job.schedule.decay)) {
    rule.every_steps = step->every_steps;
    rule.factor = step->factor;
  } else if (const auto* cosine = std::get_if<CosineDecay>(&job.schedule.decay)) {
    rule.cosine_steps = cosine->steps;
    rule.floor = cosine->floor;
  }
  rule.warmup_steps = job.schedule.warmup_steps;
  rule.mu = job.momentum.coefficient;
  rule.dampening = job.momentum.dampening;
  rule.nesterov = job.momentum.nesterov;
  if (job.gradient_clipping) rule.clipping_norm = job.gradient_clipping->norm;
  if (job.weight_decay) rule.weight_decay = job.weight_decay->rate;
  return rule;
}

void RelativeError::Compare(const std::vector<double>& expected, const std::vector<float>& got) {
  ASSERT_EQ(expected.size(), got.size());
  double mean = 0;
  for (const double value : expected) mean += std::fabs(value) / expected.size();
  scale_ = std::max(scale_, mean);
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(got[i] - expected[i]);
    ASSERT_TRUE(std::isfinite(error)) << "entry " << i;
    if (error > 0) worst_ = std::max(worst_, error / std::max(std::fabs(expected[i]), scale_));
  }
}

void RecordingSink::Deliver(Snapshot snapshot) {
  absl::MutexLock lock(&mutex_);
  snapshots_.push_back(std::move(snapshot));
}

void RecordingSink::End(absl::Status reason) {
  absl::MutexLock lock(&mutex_);
  ends_.push_back(std::move(reason));
}

std::vector<Snapshot> RecordingSink::Await(size_t count) {
  const auto all_there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return snapshots_.size() >= count;
  };
  absl::MutexLock lock(&mutex_);
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&all_there), absl::Minutes(1)))
      << "expected " << count << " snapshots, got " << snapshots_.size();
  return snapshots_;
}

std::vector<Snapshot> RecordingSink::snapshots() const {
  absl::MutexLock lock(&mutex_);
  return snapshots_;
}

std::vector<absl::Status> RecordingSink::ends() const {
  absl::MutexLock lock(&mutex_);
  return ends_;
}

// Carries sums to their home by a plain call, and records reports.
class ShardGroup::Network : public ShardPeers, public ShardCoordinator {
 public:
  explicit Network(const std::vector<std::shared_ptr<ShardState>>& states) : states_(states) {}

  void ReduceNorms(int home, const BlockSums& sums, NormsCallback done) override {
    states_[home]->ReduceNorms(sums, std::move(done));
  }
  void ReduceDeltaNorms(int home, const ProposedSums& sums, DeltaNormsCallback done) override {
    states_[home]->ReduceDeltaNorms(sums, std::move(done));
  }
  void CollectDeltas(int home, const DeltaSums& sums) override {
    EXPECT_OK(states_[home]->Collect(sums));
  }

  absl::StatusOr<ClusterView> Beat(const ShardBeat& /*beat*/) override {
    return absl::UnimplementedError("no heartbeats in tests of shards");
  }
  void Gathered(uint64_t /*generation*/, int64_t /*steps*/) override {}
  void ReportStatistics(uint64_t /*generation*/, const TensorStatistics& statistics) override {
    absl::MutexLock lock(&mutex_);
    reports_.push_back(statistics);
  }
  void ReportHistograms(uint64_t /*generation*/, SliceHistograms histograms) override {
    absl::MutexLock lock(&mutex_);
    histograms_.push_back(std::move(histograms));
  }

  std::vector<TensorStatistics> reports() const {
    absl::MutexLock lock(&mutex_);
    return reports_;
  }

  std::vector<SliceHistograms> histograms() const {
    absl::MutexLock lock(&mutex_);
    return histograms_;
  }

 private:
  const std::vector<std::shared_ptr<ShardState>>& states_;  // the group's
  mutable absl::Mutex mutex_;
  std::vector<TensorStatistics> reports_ ABSL_GUARDED_BY(mutex_);
  std::vector<SliceHistograms> histograms_ ABSL_GUARDED_BY(mutex_);
};

ShardGroup::ShardGroup(const Job& job, int shards, int threads)
    : job_(job),
      network_(std::make_shared<Network>(states_)),
      pool_(std::make_unique<ThreadPool>(threads)) {
  for (int shard = 0; shard < shards; ++shard) {
    ShardState::Options options;
    options.job = job_;
    options.shard = shard;
    options.shards = shards;
    options.generation = 1;
    options.pool = pool_.get();
    options.peers = network_;
    options.coordinator = network_.get();
    options.histogram_steps = 2;
    states_.push_back(std::make_shared<ShardState>(std::move(options)));
  }
}

ShardGroup::~ShardGroup() { Drain(); }

void ShardGroup::Drain() {
  for (const auto& state : states_) state->Close(absl::CancelledError("the test is over"));
  pool_.reset();
}

absl::Status ShardGroup::Push(int shard, ShardSlice& slice, int64_t step, int32_t slot,
                              const Gradient& gradient) const {
  const TensorRange& range = slice.range();
  const std::vector<float>& values = gradient[range.tensor];
  const Buffer buffer = slice.TakeBuffer();
  std::copy(values.begin() + range.begin, values.begin() + range.end, buffer->begin());
  return states_[shard]->Stage(slice, step, slot, buffer).status();
}

absl::Status ShardGroup::Push(int64_t step, int32_t slot, const Gradient& gradient) const {
  for (int shard = 0; shard < shards(); ++shard) {
    for (const auto& slice : states_[shard]->slices()) {
      RETURN_IF_ERROR(Push(shard, *slice, step, slot, gradient));
    }
  }
  return absl::OkStatus();
}

Gradient ShardGroup::Weights(int64_t step) const {
  const auto sink = std::make_shared<RecordingSink>();
  size_t slices = 0;
  for (const auto& state : states_) {
    slices += state->slices().size();
    const absl::Status pulled = state->Pull(step, sink);
    EXPECT_OK(pulled);
  }
  Gradient weights;
  for (const TensorSpec& tensor : job_.model.tensors) weights.emplace_back(tensor.size());
  for (const Snapshot& snapshot : sink->Await(slices)) {
    EXPECT_EQ(snapshot.step, step);
    std::copy(snapshot.values->begin(), snapshot.values->end(),
              weights[snapshot.range.tensor].begin() + snapshot.range.begin);
  }
  return weights;
}

std::vector<TensorStatistics> ShardGroup::reports() const { return network_->reports(); }

std::vector<SliceHistograms> ShardGroup::histograms() const { return network_->histograms(); }

}  // namespace percentdelta
