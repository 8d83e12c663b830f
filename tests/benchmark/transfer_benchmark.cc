// SPDX-License-Identifier: Apache-2.0

// Transfers the 13.1 MB of a model to and from real servers, over the connection and through shared
// memory, against as many bytes over a bare TCP connection on loopback, or against another program;
// and with mTLS, against the same without.
// Servers and benchmark are separate processes.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/pull.h"
#include "client/push.h"
#include "common/job/job_codec.h"
#include "tests/benchmark/limits.h"
#include "tests/benchmark/paired.h"
#include "tests/benchmark/peer.h"
#include "tests/benchmark/server_processes.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

using Values = std::vector<std::vector<float>>;

// Two gradients per step: the first one causes no update, which would compete with the end of its
// push for the cores.
Job EndlessJob() {
  Job job = *LoadJob("");
  job.gradients_per_step = 2;
  job.max_steps = 1 << 30;
  job.evaluation.reset();
  return job;
}

// A worker's transfers, without its arithmetic.
class Transfer {
 public:
  Transfer(int shards, bool shares_memory, bool tls = false)
      : job_(EndlessJob()),
        servers_(job_, shards, 0, tls),
        gradient_(std::make_shared<const Values>(RandomGradient(job_.model, 1))) {
    const std::shared_ptr<const ClientCredentials> worker = servers_.Credentials("worker");
    const ClusterInfo cluster = AwaitGeneration(servers_.coordinator(), worker);
    channels_ = std::make_unique<ShardChannels>(job_.model, cluster.generation,
                                                cluster.shard_addresses, shares_memory, worker);
    // The coordinator reports the generation before every shard has entered it.
    absl::Status status;
    for (int attempt = 0; attempt < 100; ++attempt) {
      status = WeightPull(*channels_, step_, absl::Seconds(10), weights_).AwaitAll();
      if (status.ok()) break;
      absl::SleepFor(absl::Milliseconds(100));
    }
    Check(status);
    if (shares_memory && channels_->memory().takers() < shards) {
      Check(absl::InternalError("the servers do not accept shared memory"));
    }
  }

  size_t bytes() const { return job_.model.size() * sizeof(float); }

  // Returns when every shard has checked and accepted its slices.
  void Push() { PushSlot(0); }

  // Pushes the other gradient, and waits for the update.
  void NextStep() {
    PushSlot(1);
    ++step_;
    Pull();
  }

  // Pulls the weights of the current step.
  void Pull() { Check(WeightPull(*channels_, step_, absl::Seconds(10), weights_).AwaitAll()); }

  // Returns the milliseconds of a push and of a pull, without the update between them.
  double PushAndPull() {
    const absl::Time begin = absl::Now();
    Push();
    const absl::Time pushed = absl::Now();
    NextStep();
    const absl::Time updated = absl::Now();
    Pull();
    return absl::ToDoubleMilliseconds(pushed - begin + (absl::Now() - updated));
  }

 private:
  void PushSlot(int32_t slot) {
    GradientPush push(*channels_, {step_, slot}, absl::Seconds(10), gradient_);
    for (int t = 0; t < static_cast<int>(gradient_->size()); ++t) push.Ready(t);
    Check(push.Finish());
  }

  static void Check(const absl::Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    std::abort();
  }

  const Job job_;
  const ServerProcesses servers_;
  const std::shared_ptr<const Values> gradient_;
  std::unique_ptr<ShardChannels> channels_;
  Values weights_;
  int64_t step_ = 0;
};

void BM_Push(benchmark::State& state, bool shares_memory) {
  Transfer transfer(static_cast<int>(state.range(0)), shares_memory);
  LoopbackTransfer tcp(transfer.bytes());
  MeasureAgainst(
      state, [&] { transfer.Push(); }, [&] { transfer.NextStep(); }, [&] { tcp.Run(); });
}

void BM_Pull(benchmark::State& state, bool shares_memory) {
  Transfer transfer(static_cast<int>(state.range(0)), shares_memory);
  LoopbackTransfer tcp(transfer.bytes());
  MeasureAgainst(
      state, [&] { transfer.Pull(); }, [] {}, [&] { tcp.Run(); });
}

void BM_PushPull(benchmark::State& state, bool shares_memory) {
  Transfer transfer(static_cast<int>(state.range(0)), shares_memory);
  LoopbackTransfer tcp(transfer.bytes());
  MeasureAgainst(
      state, [&] { return transfer.PushAndPull(); }, [] {},
      [&] {
        tcp.Run();
        tcp.Run();
      });
}

// With mTLS, against the same without.
void BM_PushPullTls(benchmark::State& state, bool shares_memory) {
  const int shards = static_cast<int>(state.range(0));
  Transfer with(shards, shares_memory, true);
  Transfer without(shards, shares_memory);
  MeasureAgainst(
      state, [&] { return with.PushAndPull(); }, [] {}, [&] { return without.PushAndPull(); });
}

void BM_PushPullAgainst(benchmark::State& state, const std::string& program, bool shares_memory) {
  Transfer transfer(static_cast<int>(state.range(0)), shares_memory);
  Peer peer({program, "both", std::to_string(transfer.bytes() / sizeof(float))});
  MeasureAgainst(
      state, [&] { return transfer.PushAndPull(); }, [] {}, [&] { return peer.Run(); });
}

void Options(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1)->Arg(2)->ArgName("shards")->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(BM_Push, connection, false)->Apply(Options);
BENCHMARK_CAPTURE(BM_Push, shared_memory, true)->Apply(Options);
BENCHMARK_CAPTURE(BM_Pull, connection, false)->Apply(Options);
BENCHMARK_CAPTURE(BM_Pull, shared_memory, true)->Apply(Options);
BENCHMARK_CAPTURE(BM_PushPull, connection, false)->Apply(Options);
BENCHMARK_CAPTURE(BM_PushPull, shared_memory, true)->Apply(Options);
BENCHMARK_CAPTURE(BM_PushPullTls, connection, false)->Apply(Options);
BENCHMARK_CAPTURE(BM_PushPullTls, shared_memory, true)->Apply(Options);

}  // namespace

void RegisterTransferPeer(const std::string& name, const std::string& program) {
  for (const bool shares_memory : {false, true}) {
    const std::string title = absl::StrCat(
        "BM_PushPull/", shares_memory ? "shared_memory" : "connection", "/against_", name);
    benchmark::RegisterBenchmark(title.c_str(),
                                 [program, shares_memory](benchmark::State& state) {
                                   BM_PushPullAgainst(state, program, shares_memory);
                                 })
        ->Arg(1)
        ->ArgName("shards")
        ->UseManualTime();
  }
}

}  // namespace percentdelta
