// SPDX-License-Identifier: Apache-2.0

#include "common/page/page_json.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/cluster/progress_json.h"
#include "common/job/job_codec.h"
#include "common/job/rule_spec.h"
#include "common/page/page_charts.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return absl::StrReplaceAll(json.dump(-1, ' ', false, Json::error_handler_t::replace),
                             {{"<", "\\u003c"}});
}

// To a millisecond: a message has many of them.
double SecondsOf(absl::Duration duration) {
  return std::round(absl::ToDoubleMilliseconds(duration)) / 1e3;
}

Json TimesJson(const std::optional<LeaseTimes>& times) {
  if (!times) return nullptr;
  return {SecondsOf(times->pull), SecondsOf(times->compute), SecondsOf(times->push)};
}

Json ShardJson(const ShardActivity& shard) {
  Json json = {{"address", shard.address}, {"silent", SecondsOf(shard.silent)},
               {"entered", shard.entered}, {"gathered", shard.gathered_steps},
               {"problem", shard.problem}, {"load", nullptr}};
  if (shard.load) {
    json["load"] = {{"memory", shard.load->resident_bytes},
                    {"cpu", shard.load->cpu_seconds},
                    {"received", shard.load->bytes_received},
                    {"sent", shard.load->bytes_sent},
                    {"shared", shard.load->shared_bytes}};
  }
  return json;
}

const char* TransportName(Transport transport) {
  switch (transport) {
    case Transport::kUnknown:
      return "";
    case Transport::kConnection:
      return "connection";
    case Transport::kSharedMemory:
      return "shared memory";
    case Transport::kBoth:
      return "both";
  }
  return "";
}

Json WorkerJson(const WorkerActivity& worker) {
  Json json = {{"name", worker.name},
               {"present", SecondsOf(worker.present)},
               {"silent", SecondsOf(worker.silent)},
               {"leases", worker.leases},
               {"rate", std::round(worker.examples_per_second * 10) / 10},
               {"times", TimesJson(worker.times)},
               {"transport", TransportName(worker.transport)},
               {"suspended", worker.suspended},
               {"lease", nullptr}};
  if (worker.lease) {
    json["lease"] = {{"kind", worker.lease->kind == Lease::Kind::kTrain ? "train" : "evaluate"},
                     {"step", worker.lease->step},
                     {"slot", worker.lease->slot},
                     {"held", SecondsOf(worker.lease->held)},
                     {"expired", worker.lease->expired}};
  }
  return json;
}

bool NeedsAttention(const WorkerActivity& worker) {
  return !worker.suspended.empty() || (worker.lease && worker.lease->expired);
}

Json PointOrNull(const ProgressPoint* point) {
  return point == nullptr ? Json(nullptr) : PointJson(*point);
}

}  // namespace

std::string QuoteJson(const std::string& text) { return Dump(text); }

std::string JobJson(const Job& job) {
  const std::vector<int> charted = ChartedTensors(job.model);
  Json tensors = Json::array();
  for (size_t i = 0; i < job.model.tensors.size(); ++i) {
    const TensorSpec& tensor = job.model.tensors[i];
    if (tensor.buffer) continue;
    const auto at = std::lower_bound(charted.begin(), charted.end(), static_cast<int>(i));
    const bool found = at != charted.end() && *at == static_cast<int>(i);
    tensors.push_back({{"name", tensor.name},
                       {"layer", std::string(tensor.layer())},
                       {"entries", tensor.size()},
                       {"matrix", tensor.shape.size() > 1},
                       {"line", found ? at - charted.begin() : -1}});
  }
  return Dump({{"name", job.name},
               {"rule", RuleTitle(job.optimizer.rule)},
               {"batch", job.batch_size},
               {"slots", job.gradients_per_step},
               {"max_steps", job.max_steps},
               {"any_arithmetic", job.any_arithmetic ? kAnyArithmeticNote : ""},
               {"text", JobToText(job)},
               {"tensors", std::move(tensors)}});
}

std::string TrainingStatusJson(const Progress& progress) {
  return Dump({{"state", std::string(ToString(progress.state))},
               {"message", progress.message},
               {"generation", progress.generation},
               {"shard_count", progress.shard_count},
               {"step", progress.step},
               {"max_steps", progress.max_steps},
               {"worker_count", progress.workers},
               {"rate", progress.examples_per_second},
               {"expired", progress.expired_leases},
               {"failed", progress.failed_leases},
               {"duplicates", progress.duplicate_results},
               {"speculative", progress.speculative_leases},
               {"checkpoint", CheckpointJson(progress.checkpoint)},
               {"arithmetic", progress.arithmetic},
               {"times", TimesJson(progress.mean_times)},
               {"time_left", SecondsOf(TimeLeft(progress))}});
}

std::string ActivityJson(const ClusterActivity& activity, int max_workers, absl::Duration now) {
  Json shards = Json::array();
  for (const ShardActivity& shard : activity.shards) shards.push_back(ShardJson(shard));
  Json workers = Json::array();
  for (const bool attention : {true, false}) {
    for (const WorkerActivity& worker : activity.workers) {
      if (NeedsAttention(worker) != attention) continue;
      if (static_cast<int>(workers.size()) < max_workers) workers.push_back(WorkerJson(worker));
    }
  }
  const size_t not_listed = activity.workers.size() - workers.size();
  return Dump({{"time", SecondsOf(now)},
               {"shards", std::move(shards)},
               {"workers", std::move(workers)},
               {"workers_not_listed", not_listed}});
}

std::string EventJson(const ClusterEvent& event, absl::Time wall) {
  return Dump({{"id", event.id},
               {"kind", std::string(ToString(event.kind))},
               {"step", event.step},
               {"time", absl::ToUnixMillis(wall)},
               {"text", event.text}});
}

std::string StepJson(int64_t step, const StepStatistics* statistics, const ProgressPoint* training,
                     const ProgressPoint* evaluation) {
  Json updates = Json::array();
  if (statistics != nullptr) {
    for (const TensorStatistics& update : statistics->updates) {
      Json json;
      VisitStatisticsFields([&](const char* name, auto field) {
        if (std::string_view(name) != "step" && std::string_view(name) != "layer") {
          json[name] = update.*field;
        }
      });
      updates.push_back(std::move(json));
    }
  }
  return Dump({{"step", step},
               {"training", PointOrNull(training)},
               {"evaluation", PointOrNull(evaluation)},
               {"updates", std::move(updates)}});
}

}  // namespace percentdelta
