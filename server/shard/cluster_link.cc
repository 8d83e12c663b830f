#include "server/shard/cluster_link.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

// Between a process's first beats: it is called back meanwhile, and the next beat learns of it.
constexpr absl::Duration kFirstPause = absl::Milliseconds(5);

// What Membership refuses. Something else that answers at the coordinator's address does not get
// here with these codes (server/rpc/remote_coordinator.h).
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
  absl::Duration first_pause = kFirstPause;
  while (BeatOnce(generation)) {
    const absl::Duration gathering = std::min(first_pause, options_.interval / 10);
    first_pause *= 2;
    pause_.Take(generation == 0 ? gathering : options_.interval);
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
  }
}

bool ClusterLink::BeatOnce(uint64_t& generation) {
  ShardBeat beat = options_.self;
  beat.generation = generation;
  if (options_.describe) options_.describe(beat);
  beat.problem = trouble_.empty() && options_.trouble ? options_.trouble() : trouble_;
  if (options_.parts) beat.parts = options_.parts();
  const absl::StatusOr<ClusterView> view = options_.beat(beat);
  if (!view.ok()) {
    // Whatever is not a refusal, such as a connection that breaks while the coordinator restarts,
    // or another service that has its port for a while, passes.
    if (!IsRefusal(view.status())) {
      Say(absl::StrCat("waiting for coordinator address=", options_.coordinator, " error=\"",
                       absl::CHexEscape(absl::string_view(view.status().message()).substr(0, 200)),
                       "\""));
      return true;
    }
    options_.log->error("refused by coordinator error=\"{}\"", view.status().message());
    absl::MutexLock lock(&mutex_);
    refused_ = view.status();
    return false;
  }
  if (!beat.parts.empty()) options_.heard(beat.parts.size());
  if (view->generation == 0) {
    SayWhatIsAwaited(*view);
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

void ClusterLink::SayWhatIsAwaited(const ClusterView& view) {
  if (!view.message.empty()) {
    Say(absl::StrCat("not in the cluster yet error=\"", absl::CHexEscape(view.message), "\""));
  } else if (view.missing.empty()) {
    Say("waiting for the coordinator to read a checkpoint");
  } else if (view.missing.size() > 1 || view.missing.front() != options_.self.shard) {
    Say(absl::StrCat("waiting for shards missing=", absl::StrJoin(view.missing, ",")));
  }  // else it is being called back, which takes a moment
}

void ClusterLink::Say(const std::string& event) {
  if (event == last_said_) return;
  last_said_ = event;
  options_.log->info("{}", event);
}

}  // namespace percentdelta
