// Moving a model's 13.1 MB to and from real servers over loopback, against as many bytes through a
// bare TCP connection.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/pull.h"
#include "common/job_codec.h"
#include "tests/benchmark/limits.h"
#include "tests/benchmark/paired.h"
#include "tests/local/small_cluster.h"

namespace percentdelta {
namespace {

Job EndlessJob() {
  Job job = *LoadJob("");
  job.max_steps = 1 << 30;
  job.evaluation.reset();
  return job;
}

size_t Bytes(const ModelSpec& model) { return model.size() * sizeof(float); }

// From the first byte until every shard has taken its slices. The update that follows is waited
// for, untimed.
void BM_Push(benchmark::State& state) {
  const Job job = EndlessJob();
  ServersOnly servers(job, static_cast<int>(state.range(0)));
  const std::vector<std::vector<float>> gradient = RandomGradient(job.model, 1);
  LoopbackTransfer tcp(Bytes(job.model));
  int64_t step = 0;
  MeasureAgainst(
      state,
      [&] {
        const absl::Status status = servers.Push(step, 0, gradient);
        if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
      },
      [&] { servers.Pull(++step); }, [&] { tcp.Run(); });
}

// Weights that are there already.
void BM_Pull(benchmark::State& state) {
  const Job job = EndlessJob();
  const ServersOnly servers(job, static_cast<int>(state.range(0)));
  LoopbackTransfer tcp(Bytes(job.model));
  std::vector<std::vector<float>> weights;
  MeasureAgainst(
      state,
      [&] {
        const absl::Status status =
            WeightPull(servers.channels(), 0, absl::Seconds(10), weights).AwaitAll();
        if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
      },
      [] {}, [&] { tcp.Run(); });
}

void Options(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1)->Arg(2)->ArgName("shards")->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(BM_Push)->Apply(Options);
BENCHMARK(BM_Pull)->Apply(Options);

}  // namespace
}  // namespace percentdelta
