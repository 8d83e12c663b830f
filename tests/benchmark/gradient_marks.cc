// SPDX-License-Identifier: Apache-2.0

// gradient_marks --data=DIR --threads=N
//
// Measures when the computation of a gradient first needs each layer's weights, and when it has
// completed each layer's gradient. Prints one line of JSON: medians, in milliseconds since the
// start of the gradient. `gather` is the time to gather the batch before. tests/benchmark/scaling
// uses these as the costs of the model.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/memory.h"
#include "common/base/status_macros.h"
#include "common/job/initial_weights.h"
#include "common/job/job_codec.h"
#include "common/program/command_line.h"
#include "nlohmann/json.hpp"
#include "worker/data/batches.h"
#include "worker/data/data_sets.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"

ABSL_FLAG(std::string, data, "data/mnist", "directory with the four IDX files");
ABSL_FLAG(int, threads, 1, "number of threads that compute the gradient");
ABSL_FLAG(int, rounds, 40, "number of batches, each with the job's initial weights");

namespace percentdelta {
namespace {

using Clock = std::chrono::steady_clock;

using Milliseconds = std::map<std::string, double>;  // by event

double Since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

nlohmann::json Medians(const std::vector<Milliseconds>& rounds) {
  std::map<std::string, std::vector<double>> times;
  for (const Milliseconds& round : rounds) {
    for (const auto& [name, time] : round) times[name].push_back(time);
  }
  nlohmann::json medians = nlohmann::json::object();
  for (auto& [name, values] : times) {
    std::sort(values.begin(), values.end());
    medians[name] = values[values.size() / 2];
  }
  return medians;
}

absl::Status Run() {
  ASSIGN_OR_RETURN(const Job job, LoadJob(""));
  ASSIGN_OR_RETURN(const Dataset images, ReadTrainingSet(absl::GetFlag(FLAGS_data)));
  ThreadPool pool(absl::GetFlag(FLAGS_threads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, MakeModel(job.model, {&pool, ""}));
  TensorValues weights;
  for (const TensorSpec& tensor : job.model.tensors) {
    DrawInitialWeights(tensor, job.seed, 0, absl::MakeSpan(weights.emplace_back(tensor.size())));
  }
  BatchSource batches(job.seed, images.count);
  Batch batch;
  TensorValues gradient;
  const auto layer = [&](int tensor) { return std::string(job.model.tensors[tensor].layer()); };
  std::vector<Milliseconds> gather;
  std::vector<Milliseconds> needs;
  std::vector<Milliseconds> makes;
  for (int64_t round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    const absl::Span<const int64_t> examples = batches.Examples(0, round, job.batch_size);
    const Clock::time_point begin = Clock::now();
    GatherBatch(images, examples, batch);
    gather.push_back({{"gather", Since(begin)}});
    Milliseconds& first_need = needs.emplace_back();
    Milliseconds& last_made = makes.emplace_back();
    const Clock::time_point start = Clock::now();
    TensorHooks hooks;
    hooks.await_weights = [&](int tensor) {
      first_need.emplace(layer(tensor), Since(start));
      return absl::OkStatus();
    };
    hooks.gradient_ready = [&](int tensor) { last_made[layer(tensor)] = Since(start); };
    RETURN_IF_ERROR(model->Gradient(weights, batch, hooks, gradient).status());
  }
  nlohmann::json json = Medians(gather);
  json["needs"] = Medians(needs);
  json["makes"] = Medians(makes);
  std::cout << json.dump() << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  percentdelta::RetainFreedMemory();
  percentdelta::ParseCommandLine(
      argc, argv,
      "Measures when a gradient needs each layer's weights and completes each layer's gradient.\n"
      "  gradient_marks --data=data/mnist --threads=2 (flags: tests/benchmark/gradient_marks.cc)");
  const absl::Status status = percentdelta::Run();
  if (status.ok()) return 0;
  std::cerr << "gradient_marks: " << status.message() << "\n";
  return percentdelta::kExitFailure;
}
