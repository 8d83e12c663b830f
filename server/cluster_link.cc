#include "server/cluster_link.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace percentdelta {

ClusterLink::ClusterLink(Options options) : options_(std::move(options)) {}

ClusterLink::~ClusterLink() { Stop(); }

void ClusterLink::Start() {
  thread_ = std::thread([this] { Run(); });
}

void ClusterLink::Wake() { pause_.Cut(); }

absl::Status ClusterLink::Wait() const {
  const auto over = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stopping_ || refused_.has_value();
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&over));
  return refused_.value_or(absl::OkStatus());
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
  while (BeatOnce(generation)) {
    pause_.Take(generation == 0 ? options_.interval / 10 : options_.interval);
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
  }
}

bool ClusterLink::BeatOnce(uint64_t& generation) {
  ShardBeat beat = options_.self;
  beat.generation = generation;
  beat.trouble = trouble_;
  if (options_.describe) options_.describe(beat);
  if (options_.parts) beat.parts = options_.parts();
  const absl::StatusOr<Coordinator::View> view = options_.beat(beat);
  if (!view.ok()) {
    // Membership's refusals are for good. Whatever else it is, such as a connection that breaks
    // while the coordinator restarts, may pass.
    if (!absl::IsFailedPrecondition(view.status()) && !absl::IsAlreadyExists(view.status())) {
      Say(absl::StrCat("waiting for coordinator address=", options_.coordinator));
      return true;
    }
    options_.log->error("refused by coordinator error=\"{}\"", view.status().message());
    absl::MutexLock lock(&mutex_);
    refused_ = view.status();
    return false;
  }
  if (!beat.parts.empty()) options_.heard(beat.parts.size());
  if (view->generation == 0) {
    Say(view->missing.empty()
            ? "waiting for the coordinator to read a checkpoint"
            : absl::StrCat("waiting for shards missing=", absl::StrJoin(view->missing, ",")));
    return true;
  }
  if (view->generation != generation) {
    const absl::Status entered = options_.enter(*view);
    trouble_ = std::string(entered.message());
    if (!entered.ok()) {
      Say(absl::StrCat("cannot enter generation=", view->generation, " error=\"", trouble_, "\""));
      return true;
    }
    generation = view->generation;
    Say(absl::StrCat("in generation generation=", generation));
    return BeatOnce(generation);
  }
  return true;
}

void ClusterLink::Say(const std::string& event) {
  if (event == last_said_) return;
  last_said_ = event;
  options_.log->info("{}", event);
}

}  // namespace percentdelta
