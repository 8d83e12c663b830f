// SPDX-License-Identifier: Apache-2.0

#include "server/shard/cluster_link.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/memory.h"

namespace percentdelta {
namespace {

// Pause after a process's first heartbeat: the coordinator calls it back meanwhile, and the next
// heartbeat gets the result.
constexpr absl::Duration kFirstPause = absl::Milliseconds(5);

constexpr size_t kMaxErrorBytes = 200;  // in a log line

// Whether the coordinator refused this shard (Membership::Beat). RemoteCoordinator converts errors
// of other services with these codes to kUnavailable.
bool IsRefusal(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsAlreadyExists(status) ||
         absl::IsInvalidArgument(status);
}

}  // namespace

ClusterLink::ClusterLink(Options options) : options_(std::move(options)) {}

ClusterLink::~ClusterLink() { Stop(); }

void ClusterLink::Start() {
  thread_ = std::thread([this] { Run(); });
}

void ClusterLink::Wake() { pause_.Cut(); }

absl::Status ClusterLink::Wait() const {
  const auto ended = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stopping_ || ended_.has_value();
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&ended));
  return ended_.value_or(absl::OkStatus());
}

void ClusterLink::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  pause_.Cut();
  if (thread_.joinable()) thread_.join();
}

void ClusterLink::Run() {
  uint64_t generation = 0;
  absl::Duration first_pause = kFirstPause;
  while (BeatOnce(generation)) {
    const absl::Duration gathering_pause = std::min(first_pause, options_.interval / 10);
    first_pause *= 2;
    pause_.Take(generation == 0 ? gathering_pause : options_.interval);
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
  }
}

ShardBeat ClusterLink::MakeBeat(uint64_t generation) const {
  ShardBeat beat = options_.self;
  beat.generation = generation;
  const absl::StatusOr<std::shared_ptr<ShardState>> state = options_.shard->At(generation);
  if (state.ok()) {
    beat.gathered_steps = (*state)->gathered_steps();
    beat.missing_slots = (*state)->MissingSlots(beat.gathered_steps);
  }
  beat.problem = enter_error_.empty() ? options_.member->connection_error() : enter_error_;
  const ShardCounters& counters = *options_.shard->counters();
  beat.load = {ResidentBytes(), ProcessorSeconds(), counters.pushed.grpc.load(),
               counters.pulled.grpc.load(),
               counters.pushed.shared_memory.load() + counters.pulled.shared_memory.load()};
  if (options_.checkpoint_writer != nullptr) beat.parts = options_.checkpoint_writer->parts();
  return beat;
}

bool ClusterLink::BeatOnce(uint64_t& generation) {
  const ShardBeat beat = MakeBeat(generation);
  const absl::StatusOr<ClusterView> view = options_.coordinator->Beat(beat);
  if (!view.ok()) {
    HandleError(view.status());
    return !IsRefusal(view.status());
  }
  if (!beat.parts.empty()) options_.checkpoint_writer->Forget(beat.parts.size());
  if (view->drained) {
    options_.log->info("drained: the training continues from its checkpoint when servers start");
    absl::MutexLock lock(&mutex_);
    ended_ = absl::OkStatus();
    return false;
  }
  if (view->generation == 0) {
    LogMissing(*view);
    return true;
  }
  if (view->generation != generation) {
    const absl::Status entered = options_.member->Enter(*view);
    enter_error_ = std::string(entered.message());
    if (!entered.ok()) {
      if (IsNew(absl::StrCat("cannot enter ", view->generation, enter_error_))) {
        options_.log->info("cannot enter generation={} error=\"{}\"", view->generation,
                           enter_error_);
      }
      return true;
    }
    generation = view->generation;
    if (IsNew(absl::StrCat("in generation ", generation))) {
      options_.log->info("in generation generation={}", generation);
    }
    return BeatOnce(generation);
  }
  return true;
}

void ClusterLink::HandleError(const absl::Status& status) {
  if (IsRefusal(status)) {
    options_.log->error("refused by coordinator error=\"{}\"", status.message());
    absl::MutexLock lock(&mutex_);
    ended_ = status;
    return;
  }
  // Any other error is transient, such as a connection that is lost while the coordinator restarts,
  // or another service that uses its port for a while.
  const std::string error =
      absl::CHexEscape(absl::string_view(status.message()).substr(0, kMaxErrorBytes));
  if (IsNew(absl::StrCat("waiting for coordinator ", error))) {
    options_.log->info("waiting for coordinator address={} error=\"{}\"",
                       options_.coordinator_address, error);
  }
}

void ClusterLink::LogMissing(const ClusterView& view) {
  if (!view.message.empty()) {
    if (IsNew(absl::StrCat("not in the cluster yet ", view.message))) {
      options_.log->info("not in the cluster yet error=\"{}\"", absl::CHexEscape(view.message));
    }
  } else if (view.missing.empty()) {
    if (IsNew("waiting for checkpoint")) {
      options_.log->info("waiting for the coordinator to read a checkpoint");
    }
  } else if (view.missing.size() > 1 || view.missing.front() != options_.self.shard) {
    const std::string missing = absl::StrJoin(view.missing, ",");
    if (IsNew(absl::StrCat("waiting for shards ", missing))) {
      options_.log->info("waiting for shards missing=\"{}\"", missing);
    }
  }  // Otherwise the coordinator is calling this shard back, which takes a moment.
}

bool ClusterLink::IsNew(std::string event) {
  if (event == last_event_) return false;
  last_event_ = std::move(event);
  return true;
}

}  // namespace percentdelta
