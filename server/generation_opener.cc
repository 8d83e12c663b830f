// SPDX-License-Identifier: Apache-2.0

#include "server/generation_opener.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/job/partition.h"
#include "server/checkpoint/checkpoint.h"
#include "server/checkpoint/slice_file.h"
#include "server/shard/shard_state.h"
#include "server/update/optimizer.h"

namespace percentdelta {

GenerationOpener::GenerationOpener(Options options, InitialContent initial)
    : options_(std::move(options)), initial_(std::move(initial)) {}

GenerationOpener::~GenerationOpener() { Close(); }

absl::Status GenerationOpener::Enter(const ClusterView& view) {
  ASSIGN_OR_RETURN(ShardContent initial, ReadInitialContent(view));
  CheckpointWriter* const writer = options_.checkpoint_writer;
  if (writer != nullptr) writer->Enter(view.generation, view.step);
  auto peers = std::make_shared<RemotePeers>(view.generation, view.addresses, options_.job.model,
                                             options_.self, options_.log, options_.credentials);
  ShardState::Options state;
  state.job = options_.job;
  state.shard = options_.self.shard;
  state.shards = options_.shards;
  state.generation = view.generation;
  state.pool = options_.pool;
  state.peers = peers;
  state.coordinator = options_.coordinator;
  state.histogram_steps = view.histogram_steps;
  state.checkpoint_writer = writer;
  state.initial = std::move(initial);
  state.counters = options_.shard->counters();
  state.faults = options_.faults;
  state.tracer = options_.tracer;
  options_.shard->Open(std::make_shared<ShardState>(std::move(state)));
  peers_.swap(peers);
  peers_->IdentifyAll();
  if (peers != nullptr) peers->Close();
  return absl::OkStatus();
}

std::string GenerationOpener::connection_error() const {
  return peers_ == nullptr ? "" : peers_->connection_error();
}

void GenerationOpener::Close() {
  if (peers_ != nullptr) peers_->Close();
}

absl::StatusOr<ShardContent> GenerationOpener::ReadInitialContent(const ClusterView& view) {
  ShardContent content;
  content.generation = view.generation;
  content.step = view.step;
  if (view.checkpoint.empty()) {
    ASSIGN_OR_RETURN(content.slices, initial_.Take());
    return content;
  }
  initial_.Drop();
  options_.faults.Pass("restore");
  // The coordinator has checked the files that it sees. This shard may see others.
  const absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(view.checkpoint, options_.job);
  if (!checkpoint.ok()) {
    return absl::Status(checkpoint.status().code(),
                        absl::StrCat(checkpoint.status().message(),
                                     "; all servers must see the checkpoints' directory"));
  }
  if (checkpoint->manifest.step != view.step) {
    return absl::DataLossError(absl::StrCat(view.checkpoint, ": expected step ", view.step,
                                            ", got ", checkpoint->manifest.step));
  }
  const Partition partition(options_.job.model, options_.shards);
  ASSIGN_OR_RETURN(content.slices, ReadSlices(view.checkpoint, checkpoint->manifest.shards,
                                              options_.job.model, StateNames(options_.job),
                                              partition.ranges_of_shard(options_.self.shard)));
  return content;
}

}  // namespace percentdelta
