// SPDX-License-Identifier: Apache-2.0

// Tensors that are not trained, on real servers: the mean of the slots' values in slot order, for
// any split and any order of the pushes; in checkpoints; and absent from the statistics.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cluster.h"
#include "client/coordinator_stub.h"
#include "client/push.h"
#include "common/base/random.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "worker/kernels/select.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Values = std::vector<std::vector<float>>;

constexpr uint64_t kSeed = 1502;
constexpr int64_t kSteps = 6;

// Two trained tensors, one of them split, and buffers of every size: split, of a few entries, and a
// scalar, which is the only tensor of its layer.
Job JobWithBuffers(int32_t slots) {
  Job job = MadeUpJob(kSteps);
  job.gradients_per_step = slots;
  job.optimizer = {0.03, PercentDeltaRule{1e-3}};
  job.momentum = {0.9, 0.9};
  job.gradient_clipping = GradientClippingSpec{1};
  job.weight_decay = WeightDecaySpec{0.01};
  job.model.tensors.insert(
      job.model.tensors.begin() + 1,
      TensorSpec{"a/running_mean", {3, 13000}, TruncatedNormalInitializer{1}, true});
  job.model.tensors.push_back({"b/running_var", {130}, ConstantInitializer{1}, true});
  job.model.tensors.push_back({"c/count", {}, ConstantInitializer{0}, true});
  return job;
}

// What a worker pushes: of a trained tensor a gradient, of a buffer a value near the one that it
// pulled. A slot's magnitude is its own, so that sums depend on the order of addition.
Values Pushed(const Job& job, const Values& pulled, int64_t step, int32_t slot) {
  Values pushed = RandomGradient(job.model, kSeed + 1000 * step + slot);
  for (size_t t = 0; t < pushed.size(); ++t) {
    if (!job.model.tensors[t].buffer) continue;
    const float scale = slot % 3 == 0 ? 1e9F : slot % 3 == 1 ? -1e-9F : 1.0F;
    for (size_t i = 0; i < pushed[t].size(); ++i) {
      pushed[t][i] = 0.5F * pulled[t][i] + scale * pushed[t][i];
    }
  }
  return pushed;
}

// The buffers after a step, by themselves: in double, slot after slot.
std::vector<float> Mean(const std::vector<Values>& slots, size_t tensor) {
  std::vector<float> mean;
  for (size_t i = 0; i < slots[0][tensor].size(); ++i) {
    double sum = 0;
    for (const Values& slot : slots) sum += slot[tensor][i];
    mean.push_back(static_cast<float>(sum / static_cast<double>(slots.size())));
  }
  return mean;
}

// Slots in an order of its own for each step.
std::vector<int32_t> OrderOf(int64_t step, int32_t slots) {
  std::vector<int32_t> order(slots);
  std::iota(order.begin(), order.end(), 0);
  RandomStream random(kSeed, step);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  return order;
}

// Trains, and checks the buffers of every step. Returns the final weights' checksum.
std::string Train(const Job& job, int shards, bool shuffled) {
  ServersOnly servers(job, shards);
  for (int64_t step = 0; step < kSteps; ++step) {
    const Values pulled = servers.Pull(step).values;
    std::vector<Values> slots;
    slots.reserve(job.gradients_per_step);
    for (int32_t slot = 0; slot < job.gradients_per_step; ++slot) {
      slots.push_back(Pushed(job, pulled, step, slot));
    }
    std::vector<int32_t> order = OrderOf(step, shuffled ? job.gradients_per_step : 0);
    for (int32_t slot = 0; !shuffled && slot < job.gradients_per_step; ++slot) {
      order.push_back(slot);
    }
    for (const int32_t slot : order) EXPECT_OK(servers.Push(step, slot, slots[slot]));
    const Values next = servers.Pull(step + 1).values;
    for (size_t t = 0; t < next.size(); ++t) {
      if (!job.model.tensors[t].buffer) continue;
      EXPECT_TRUE(next[t] == Mean(slots, t)) << job.model.tensors[t].name << " step " << step + 1;
    }
  }
  return ChecksumOf(servers.Pull(kSteps));
}

TEST(BuffersTest, SameBitsForAnySplitAndAnyOrder) {
  for (const int32_t slots : {1, 3, 4}) {
    SCOPED_TRACE(absl::StrCat(slots, " slots, seed ", kSeed));
    const Job job = JobWithBuffers(slots);
    const std::string expected = Train(job, 1, false);
    for (const int shards : {1, 2, 3}) {
      SCOPED_TRACE(absl::StrCat(shards, " shards"));
      EXPECT_EQ(Train(job, shards, true), expected);
    }
  }
}

// A worker of the lease protocol, alone; leases that name a checkpoint are pushed for it.
void Work(ServersOnly& servers) {
  const auto coordinator = MakeCoordinatorStub(servers.coordinator(), absl::Seconds(10));
  const Job& job = servers.cluster_info().job;
  Lease lease;
  while (lease.kind != Lease::Kind::kFinished) {
    if (lease.kind == Lease::Kind::kWait) {
      const std::string arithmetic = SupportedKernels().front()->arithmetic;
      ASSERT_OK_AND_ASSIGN(lease,
                           coordinator->AcquireLease({"test", arithmetic}, absl::Seconds(10)));
      continue;
    }
    ASSERT_EQ(lease.kind, Lease::Kind::kTrain) << lease.message;
    const Values pulled = servers.Pull(lease.step).values;
    GradientPush push(servers.channels(), {lease.step, lease.slot, lease.checkpoint},
                      absl::Seconds(10),
                      std::make_shared<const Values>(Pushed(job, pulled, lease.step, lease.slot)));
    for (size_t tensor = 0; tensor < pulled.size(); ++tensor) push.Ready(static_cast<int>(tensor));
    ASSERT_OK(push.Finish());
    LeaseResult result;
    result.generation = lease.generation;
    result.lease_id = lease.id;
    result.worker = "test";
    result.examples = job.batch_size;
    ASSERT_OK_AND_ASSIGN(lease, coordinator->CompleteLease(result));
  }
}

// Half of the training on two shards, the rest on any number of them.
TEST(BuffersTest, ContinueFromACheckpointOnAnyNumberOfShards) {
  const TemporaryDirectory temporary;
  const Job whole = JobWithBuffers(2);
  ServersOnly undisturbed(whole, 1);
  Work(undisturbed);
  const std::string expected = ChecksumAt(undisturbed.coordinator(), kSteps);
  for (const int shards : {1, 2, 3}) {
    Job job = whole;
    job.checkpoint = CheckpointSpec{1, absl::StrCat(temporary.path(), "/", shards), 2};
    job.max_steps = kSteps / 2;
    {
      ServersOnly half(job, 2);
      Work(half);
      const Cluster client({half.coordinator()});
      EXPECT_EQ(client.GetProgress()->checkpoint->step, kSteps / 2);
    }
    job.max_steps = kSteps;
    ServersOnly rest(job, shards, kSteps / 2);
    Work(rest);
    EXPECT_EQ(ChecksumAt(rest.coordinator(), kSteps), expected) << shards << " shards";
    // Those of the steps before the checkpoint have been restored.
    ASSERT_OK_AND_ASSIGN(
        const std::vector<StepStatistics> statistics,
        Cluster({rest.coordinator()})
            .GetUpdateStatistics({.layer = "", .first_step = 0, .last_step = kSteps / 2 - 1}));
    EXPECT_EQ(statistics.size(), kSteps / 2);
  }
}

TEST(BuffersTest, StatisticsAreOfTrainedTensorsAlone) {
  const Job job = JobWithBuffers(1);
  ServersOnly servers(job, 3);
  Work(servers);
  const Cluster client({servers.coordinator()});
  int64_t steps = 0;
  ASSERT_OK(
      client.WatchUpdateStatistics("", kSteps, [&](const StepStatistics& step, int64_t skipped) {
        EXPECT_EQ(skipped, 0);
        std::vector<std::string> tensors;
        for (const TensorStatistics& update : step.updates) tensors.push_back(update.tensor);
        EXPECT_THAT(tensors, ElementsAre("a/weights", "a/biases", "b/weights", "b/scale"));
        ++steps;
        return true;
      }));
  EXPECT_EQ(steps, kSteps);
  EXPECT_THAT(client.GetUpdateStatistics({.layer = "c"}).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("expected one of a, b, got \"c\"")));
}

}  // namespace
}  // namespace percentdelta
