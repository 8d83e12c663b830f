// SPDX-License-Identifier: Apache-2.0

#include "server/metrics/shard_metrics.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/metric_list.h"
#include "server/rpc/limits.h"

namespace percentdelta {
namespace {

double Number(int64_t value) { return static_cast<double>(value); }

void AddPushes(const ShardCounters& counters, MetricList& list) {
  const char* const help =
      "Pushes that ended: accepted (with something new), duplicate (all of it was known), or "
      "refused, with the code of the status.";
  list.Counter("pushes_total", help, Number(counters.accepted),
               {{"result", "accepted"}, {"reason", ""}});
  list.Counter("pushes_total", help, Number(counters.duplicate),
               {{"result", "duplicate"}, {"reason", ""}});
  for (size_t code = 0; code < counters.refused.size(); ++code) {
    const int64_t count = counters.refused[code];
    if (count == 0) continue;
    const std::string reason =
        absl::AsciiStrToLower(absl::StatusCodeToString(static_cast<absl::StatusCode>(code)));
    list.Counter("pushes_total", help, Number(count), {{"result", "refused"}, {"reason", reason}});
  }
}

void AddTransfer(const ShardCounters& counters, MetricList& list) {
  const struct {
    const char* direction;
    const ShardCounters::Bytes& bytes;
  } ways[] = {{"in", counters.pushed}, {"out", counters.pulled}};
  const char* const help =
      "Bytes of gradients that came in and of weights that went out, by transport.";
  for (const auto& [direction, bytes] : ways) {
    list.Counter("transfer_bytes_total", help, Number(bytes.grpc),
                 {{"direction", direction}, {"transport", "grpc"}});
    list.Counter("transfer_bytes_total", help, Number(bytes.shared_memory),
                 {{"direction", direction}, {"transport", "shared_memory"}});
  }
}

void AddPhases(const ShardCounters& counters, MetricList& list) {
  const char* const help =
      "Time of a slice's step: from its weights' publication to its last gradient (staging), its "
      "norms (phase_1), the change of its weights (phase_2).";
  list.Histogram("update_seconds", help, counters.staging.counts(), {{"phase", "staging"}});
  list.Histogram("update_seconds", help, counters.phase_1.counts(), {{"phase", "phase_1"}});
  list.Histogram("update_seconds", help, counters.phase_2.counts(), {{"phase", "phase_2"}});
}

void AddCheckpoints(const CheckpointWriter& writer, const std::string& directory,
                    MetricList& list) {
  list.Histogram("checkpoint_part_seconds",
                 "Time in which this shard wrote its part of a checkpoint, pauses included.",
                 writer.counters().duration.counts());
  list.Counter("checkpoint_part_bytes_total", "Bytes of checkpoint parts that were written.",
               Number(writer.counters().bytes));
  list.Counter("checkpoint_parts_failed_total", "Checkpoint parts that could not be written.",
               Number(writer.counters().failures));
  list.Gauge("checkpoint_parts_queued", "Checkpoint parts that wait to be written.",
             static_cast<double>(writer.queued()));
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(directory, error);
  if (error) return;
  list.Gauge("checkpoint_filesystem_free_bytes", "Room left for checkpoints on their file system.",
             static_cast<double>(space.available));
  list.Gauge("checkpoint_filesystem_size_bytes", "Size of the checkpoints' file system.",
             static_cast<double>(space.capacity));
}

}  // namespace

std::vector<prometheus::MetricFamily> ShardMetrics::Collect() const {
  MetricList list({{"shard", absl::StrCat(sources_.index)}});
  const ShardCounters& counters = *sources_.shard->counters();
  if (const std::shared_ptr<ShardState> state = sources_.shard->state()) {
    list.Gauge("shard_step", "Step of the slice of this shard that is furthest behind.",
               Number(state->step()));
    list.Gauge("shard_generation", "Generation that this shard has open.",
               static_cast<double>(state->generation()));
  }
  AddPhases(counters, list);
  AddPushes(counters, list);
  AddTransfer(counters, list);
  for (int kind = 0; kind < kCallKinds; ++kind) {
    list.Gauge("calls", "Calls in flight, by kind.",
               sources_.limiter->count(static_cast<CallKind>(kind)),
               {{"kind", std::string(NameOf(static_cast<CallKind>(kind)))}});
  }
  list.Gauge("update_tasks_queued", "Updates of slices that wait for a thread.",
             static_cast<double>(sources_.pool->queued()));
  if (sources_.writer != nullptr) {
    AddCheckpoints(*sources_.writer, sources_.checkpoint_directory, list);
  }
  return list.Take();
}

}  // namespace percentdelta
