#include "server/cluster_link.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace percentdelta {

ClusterLink::ClusterLink(Options options)
    : options_(std::move(options)), thread_([this] { Run(); }) {}

ClusterLink::~ClusterLink() { Stop(); }

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
  if (thread_.joinable()) thread_.join();
}

void ClusterLink::Run() {
  uint64_t generation = 0;
  while (BeatOnce(generation)) {
    const absl::Duration pause = generation == 0 ? options_.interval / 10 : options_.interval;
    const auto stopping = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_; };
    absl::MutexLock lock(&mutex_);
    if (mutex_.AwaitWithTimeout(absl::Condition(&stopping), pause)) return;
  }
}

bool ClusterLink::BeatOnce(uint64_t& generation) {
  ShardBeat beat = options_.self;
  beat.generation = generation;
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
  if (view->generation == 0) {
    Say(absl::StrCat("waiting for shards missing=", absl::StrJoin(view->missing, ",")));
    return true;
  }
  if (view->generation != generation) {
    options_.enter(*view);
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
