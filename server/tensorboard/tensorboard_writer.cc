// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/tensorboard_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/time/clock.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(500);
constexpr absl::Duration kHistogramsTimeout = absl::Seconds(2);
constexpr absl::Duration kPoll = absl::Milliseconds(10);
constexpr char kFileVersion[] = "brain.Event:2";

tensorboard::Event VersionEvent(absl::Time now) {
  tensorboard::Event event;
  event.set_wall_time(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  event.set_file_version(kFileVersion);
  return event;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorBoardWriter>> TensorBoardWriter::Open(
    const std::string& directory, Coordinator& coordinator, const Logger& log) {
  TrainingEvents events(coordinator.job());
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, FindEventFiles(directory));
  for (const std::string& path : paths) {
    RETURN_IF_ERROR(
        ReadEvents(path, [&](const tensorboard::Event& event) { events.Restore(event); }));
  }
  const absl::Time now = absl::Now();
  ASSIGN_OR_RETURN(EventFile file, EventFile::Create(directory, now));
  file.Add(VersionEvent(now));
  RETURN_IF_ERROR(file.Flush());
  log->info("tensorboard file=\"{}\"", file.path());
  return std::unique_ptr<TensorBoardWriter>(
      new TensorBoardWriter(std::move(file), std::move(events), coordinator, log));
}

TensorBoardWriter::TensorBoardWriter(EventFile file, TrainingEvents events,
                                     Coordinator& coordinator, Logger log)
    : coordinator_(coordinator),
      log_(std::move(log)),
      file_(std::move(file)),
      events_(std::move(events)) {}

TensorBoardWriter::~TensorBoardWriter() { Finish(); }

void TensorBoardWriter::Start() {
  ticker_.emplace(kInterval, [this] { Write(); });
}

void TensorBoardWriter::AwaitHistograms() const {
  const absl::Time until = absl::Now() + kHistogramsTimeout;
  const auto misses = [this] {
    return coordinator_.GetProgress(std::numeric_limits<int64_t>::max()).state ==
               TrainingState::kFinished &&
           coordinator_.histograms().missing() != std::numeric_limits<int64_t>::max();
  };
  while (misses() && absl::Now() < until) absl::SleepFor(kPoll);
}

void TensorBoardWriter::Finish() {
  if (!ticker_) return;
  ticker_.reset();
  Write();
  Flush(/*durably=*/true);
}

void TensorBoardWriter::Write() {
  if (file_.pending()) Flush(/*durably=*/false);
  if (file_.pending()) return;  // the coordinator retains the rest meanwhile
  const ClusterView view = coordinator_.view();
  if (view.generation == 0) return;
  const TrainingEvents::Position from = events_.where(view.generation);
  TrainingSnapshot snapshot;
  snapshot.generation = view.generation;
  snapshot.first_step = view.step;
  Progress progress = coordinator_.GetProgress(std::min(from.training, from.evaluations));
  snapshot.training = std::move(progress.training);
  snapshot.evaluations = std::move(progress.evaluations);
  snapshot.statistics =
      coordinator_.statistics().Range(from.statistics, std::numeric_limits<int64_t>::max(), "");
  HistogramRing& histograms = coordinator_.histograms();
  const int64_t histograms_below = histograms.missing();
  snapshot.histograms = histograms.Complete();
  // If a generation has opened meanwhile, these may be of two; the next look sees one.
  if (coordinator_.view().generation != view.generation) return;
  events_.Add(snapshot, absl::Now(), [this](const tensorboard::Event& event) { file_.Add(event); });
  if (file_.pending()) Flush(/*durably=*/false);
  if (file_.pending()) return;
  histograms.SetWritten(view.generation, std::min(events_.written(), histograms_below));
  if (const int64_t dropped = histograms.dropped(); dropped > dropped_) {
    log_->warn("tensorboard histograms dropped steps={} reason=\"too many were not written\"",
               dropped - dropped_);
    dropped_ = dropped;
  }
}

void TensorBoardWriter::Flush(bool durably) {
  const std::string error(file_.Flush(durably).message());
  if (error != error_ && !error.empty()) {
    log_->error("tensorboard events not written error=\"{}\"", error);
  } else if (error.empty() && !error_.empty()) {
    log_->info("tensorboard events are written again");
  }
  error_ = error;
}

}  // namespace percentdelta
