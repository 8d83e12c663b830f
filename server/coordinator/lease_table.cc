#include "server/coordinator/lease_table.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kFirstDeadline = absl::Seconds(60);
constexpr absl::Duration kShortestDeadline = absl::Seconds(2);
constexpr absl::Duration kLongestDeadline = absl::Minutes(10);
constexpr int kPaceFactor = 5;
constexpr size_t kPaceMemory = 32;
constexpr int kSlowFactor = 2;  // times the longest: then a second worker tries
constexpr absl::Duration kShortestSlow = absl::Milliseconds(500);
constexpr size_t kWorkersToFail = 2;
constexpr int kFailuresAlone = 3;  // of the same work, at the same worker
constexpr absl::Duration kUnfoundedAfter = absl::Seconds(2);

std::string NameOf(const Lease& lease) {
  return lease.kind == Lease::Kind::kTrain
             ? absl::StrCat("slot ", lease.slot, " of step ", lease.step)
             : absl::StrCat("the evaluation of step ", lease.step);
}

LeaseTable::Completion Outcome(LeaseTable::Completion::Kind kind) {
  LeaseTable::Completion completion;
  completion.kind = kind;
  return completion;
}

}  // namespace

void LeaseTable::Pace::Add(absl::Duration duration) {
  recent_.push_back(duration);
  if (recent_.size() > kPaceMemory) recent_.pop_front();
}

std::optional<absl::Duration> LeaseTable::Pace::Longest() const {
  if (recent_.empty()) return std::nullopt;
  return *std::max_element(recent_.begin(), recent_.end());
}

absl::Duration LeaseTable::Pace::Deadline() const {
  const std::optional<absl::Duration> longest = Longest();
  if (!longest) return kFirstDeadline;
  return std::clamp(*longest * kPaceFactor, kShortestDeadline, kLongestDeadline);
}

LeaseTable::LeaseTable(const Job& job, Options options, WorkerRoster& roster)
    : job_(job),
      options_(std::move(options)),
      roster_(roster),
      step_(options_.first_step),
      confirmed_(options_.first_step) {
  BeginStep();
  if (options_.first_evaluated) evaluations_.clear();
}

void LeaseTable::BeginStep() {
  keeps_.reset();
  slots_.assign(step_ < job_.max_steps ? job_.gradients_per_step : 0, Work());
  if (!job_.EvaluatesAt(step_)) return;
  const int64_t size = job_.evaluation->batch_size;
  const int64_t parts = (job_.data.test_examples + size - 1) / size;
  evaluations_.push_back({step_, std::vector<Work>(parts)});
}

bool LeaseTable::MayTrain() const {
  if (evaluations_.empty()) return true;
  // The shards retain one evaluated step beside the present one.
  return !job_.EvaluatesAt(step_ + 1);
}

int64_t LeaseTable::oldest_unevaluated() const {
  return evaluations_.empty() ? step_ : evaluations_.front().step;
}

const LeaseTable::Pace& LeaseTable::PaceOf(const Lease& lease) const {
  return lease.kind == Lease::Kind::kTrain ? training_pace_ : evaluation_pace_;
}

absl::Duration LeaseTable::DeadlineOf(const Lease& lease) const {
  return options_.deadline > absl::ZeroDuration() ? options_.deadline : PaceOf(lease).Deadline();
}

Lease LeaseTable::Give(Lease lease, Work& work, const std::string& worker, absl::Duration now) {
  if (lease.kind == Lease::Kind::kTrain) {
    if (!keeps_) keeps_ = options_.keeps && options_.keeps(step_ + 1);
    lease.checkpoint = *keeps_;
  }
  lease.generation = options_.generation;
  lease.id = next_id_++;
  lease.deadline = DeadlineOf(lease);
  ++work.holders;
  given_[lease.id] = {lease, worker, now, now + lease.deadline};
  return lease;
}

bool LeaseTable::MayTake(const std::string& worker, const Work& work, absl::Duration now) const {
  return !work.failures.contains(worker) || !OthersMayTry(work, now);
}

bool LeaseTable::OthersMayTry(const Work& work, absl::Duration now) const {
  std::set<std::string> failed;
  for (const auto& [worker, failures] : work.failures) failed.insert(worker);
  return roster_.HasOtherThan(failed, now);
}

std::optional<Lease> LeaseTable::Next(const std::string& worker, absl::Duration now) {
  if (!failure_.empty()) return std::nullopt;
  const auto is_free = [&](const Work& work) {
    return !work.done && work.holders == 0 && MayTake(worker, work, now);
  };
  Lease lease;
  for (Evaluation& evaluation : evaluations_) {
    for (size_t part = 0; part < evaluation.parts.size(); ++part) {
      if (!is_free(evaluation.parts[part])) continue;
      const int64_t size = job_.evaluation->batch_size;
      lease.kind = Lease::Kind::kEvaluate;
      lease.step = evaluation.step;
      lease.first_example = static_cast<int64_t>(part) * size;
      lease.example_count = std::min(size, job_.data.test_examples - lease.first_example);
      return Give(lease, evaluation.parts[part], worker, now);
    }
  }
  if (MayTrain()) {
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (!is_free(slots_[slot])) continue;
      lease.kind = Lease::Kind::kTrain;
      lease.step = step_;
      lease.slot = static_cast<int32_t>(slot);
      lease.batch = BatchOf(job_, lease.step, lease.slot);
      return Give(lease, slots_[slot], worker, now);
    }
  }
  return GiveAgain(worker, now);
}

std::optional<Lease> LeaseTable::GiveAgain(const std::string& worker, absl::Duration now) {
  for (const auto& [id, given] : given_) {  // the oldest first
    Work* work = FindWork(given.lease);
    const std::optional<absl::Duration> longest = PaceOf(given.lease).Longest();
    if (given.expired || work == nullptr || work->done || work->holders != 1 || !longest) continue;
    if (now - given.at < std::max(*longest * kSlowFactor, kShortestSlow)) continue;
    if (!MayTake(worker, *work, now)) continue;
    ++speculative_;
    return Give(given.lease, *work, worker, now);
  }
  return std::nullopt;
}

absl::Status LeaseTable::CheckKnown(uint64_t lease_id) const {
  if (lease_id != 0 && lease_id < next_id_) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("lease ", lease_id, ": expected one of 1..", next_id_ - 1,
                                          ", got one that was never given"));
}

absl::StatusOr<absl::Duration> LeaseTable::Renew(uint64_t lease_id, absl::Duration now) {
  RETURN_IF_ERROR(CheckKnown(lease_id));
  const auto found = given_.find(lease_id);
  Work* work = found == given_.end() ? nullptr : FindWork(found->second.lease);
  if (work == nullptr || work->done) {
    return absl::FailedPreconditionError(
        absl::StrCat("lease ", lease_id,
                     ": expected one whose work is to be done, got one whose"
                     " work is done"));
  }
  Given& given = found->second;
  if (given.expired) ++work->holders;
  given.expired = false;
  const absl::Duration deadline = DeadlineOf(given.lease);
  given.until = now + deadline;
  return deadline;
}

LeaseTable::Work* LeaseTable::FindWork(const Lease& lease) {
  if (lease.kind == Lease::Kind::kTrain) {
    return lease.step == step_ ? &slots_[lease.slot] : nullptr;
  }
  for (Evaluation& evaluation : evaluations_) {
    if (evaluation.step == lease.step) {
      return &evaluation.parts[lease.first_example / job_.evaluation->batch_size];
    }
  }
  return nullptr;
}

int64_t LeaseTable::ExampleCount(const Lease& lease) const {
  return lease.kind == Lease::Kind::kTrain ? job_.batch_size : lease.example_count;
}

absl::StatusOr<LeaseTable::Completion> LeaseTable::Complete(const LeaseResult& result,
                                                            absl::Duration now) {
  RETURN_IF_ERROR(CheckKnown(result.lease_id));
  const auto found = given_.find(result.lease_id);
  if (found == given_.end()) return Outcome(Completion::Kind::kDuplicate);
  const Given given = found->second;
  if (result.failure.empty() && (result.examples != ExampleCount(given.lease) ||
                                 result.correct < 0 || result.correct > result.examples)) {
    return absl::InvalidArgumentError(
        absl::StrCat("lease ", result.lease_id, ": expected ", ExampleCount(given.lease),
                     " examples, got ", result.correct, " correct of ", result.examples));
  }
  given_.erase(found);
  Work* work = FindWork(given.lease);
  if (work == nullptr || work->done) {
    return Outcome(Completion::Kind::kDuplicate);
  }
  if (!result.failure.empty()) return Fail(given, *work, result, now);
  return Finish(given, *work, result, now);
}

LeaseTable::Completion LeaseTable::Fail(const Given& given, Work& work, const LeaseResult& result,
                                        absl::Duration now) {
  if (!given.expired) --work.holders;  // somebody else may hold the work too: it stays theirs
  if (result.caused_by_environment) return Outcome(Completion::Kind::kFailed);
  const std::string& worker = given.worker;
  if (work.failures.empty()) ++failed_works_;
  Failures& failures = work.failures[worker];
  ++failures.count;
  failures.reason = result.failure;
  const std::string name = NameOf(given.lease);
  if (work.failures.size() >= kWorkersToFail && !OthersMayTry(work, now)) {
    const auto add_name = [](std::string* out, const auto& entry) { out->append(entry.first); };
    failure_ = absl::StrCat(name, " failed at ", work.failures.size(), " workers (",
                            absl::StrJoin(work.failures, ", ", add_name),
                            "); the last reason: ", result.failure);
  } else if (failures.count >= kFailuresAlone) {
    roster_.SendAway(worker, absl::StrCat(name, " failed there: ", result.failure), now);
  }
  return Outcome(Completion::Kind::kFailed);
}

LeaseTable::Completion LeaseTable::Finish(const Given& given, Work& work, const LeaseResult& result,
                                          absl::Duration now) {
  Completion completion;
  work.done = true;
  work.done_at = now;
  work.result = result;
  work.result.worker = given.worker;
  for (const auto& [worker, failures] : work.failures) {
    if (worker == given.worker) continue;
    roster_.SendAway(worker,
                     absl::StrCat(NameOf(given.lease), ", which worker ", given.worker,
                                  " could do, failed there: ", failures.reason),
                     now);
  }
  if (!work.failures.empty()) --failed_works_;
  if (given.lease.kind == Lease::Kind::kTrain) {
    training_pace_.Add(now - given.at);
    completion.trained_examples = result.examples;
    completion.training = EndStep();
    return completion;
  }
  evaluation_pace_.Add(now - given.at);
  const auto evaluation =
      std::find_if(evaluations_.begin(), evaluations_.end(),
                   [&](const Evaluation& e) { return e.step == given.lease.step; });
  completion.evaluation = Summarize(evaluation->step, evaluation->parts);
  if (completion.evaluation) evaluations_.erase(evaluation);
  return completion;
}

std::optional<ProgressPoint> LeaseTable::EndStep() {
  if (step_ >= confirmed_) return std::nullopt;
  const std::optional<ProgressPoint> mean = Summarize(step_, slots_);
  if (mean) {
    ++step_;
    BeginStep();
  }
  return mean;
}

std::optional<ProgressPoint> LeaseTable::Confirm(int64_t step) {
  confirmed_ = std::max(confirmed_, step);
  return slots_.empty() ? std::nullopt : EndStep();
}

std::vector<LeaseTable::Unfounded> LeaseTable::Reopen(int64_t step,
                                                      const std::vector<int32_t>& slots,
                                                      absl::Duration now) {
  std::vector<Unfounded> unfounded;
  if (step != step_) return unfounded;
  for (const int32_t slot : slots) {
    if (slot < 0 || slot >= static_cast<int64_t>(slots_.size())) continue;
    Work& work = slots_[slot];
    if (!work.done || now - work.done_at < kUnfoundedAfter) continue;
    const std::string worker = work.result.worker;
    roster_.SendAway(worker,
                     absl::StrCat("it reported slot ", slot, " of step ", step,
                                  " without having pushed its gradient"),
                     now);
    work = Work();
    unfounded.push_back({slot, worker});
  }
  return unfounded;
}

std::string LeaseTable::HeldUpBecause() const {
  const auto describe = [](const std::string& name, const std::vector<Work>& works) -> std::string {
    for (const Work& work : works) {
      if (work.done || work.failures.empty()) continue;
      const auto& [worker, failures] = *work.failures.begin();
      return absl::StrCat(name, " failed at worker ", worker,
                          " and waits for another worker: ", failures.reason);
    }
    return "";
  };
  for (const Evaluation& evaluation : evaluations_) {
    std::string why =
        describe(absl::StrCat("the evaluation of step ", evaluation.step), evaluation.parts);
    if (!why.empty()) return why;
  }
  return describe(absl::StrCat("a slot of step ", step_), slots_);
}

std::optional<ProgressPoint> LeaseTable::Summarize(int64_t step,
                                                   const std::vector<Work>& works) const {
  double loss_sum = 0;
  int64_t correct = 0;
  int64_t examples = 0;
  for (const Work& work : works) {  // in slot order: the mean does not depend on who came first
    if (!work.done) return std::nullopt;
    loss_sum += work.result.loss_sum;
    correct += work.result.correct;
    examples += work.result.examples;
  }
  const auto count = static_cast<double>(examples);
  return ProgressPoint{step, loss_sum / count, static_cast<double>(correct) / count, 0};
}

std::vector<Lease> LeaseTable::Expire(absl::Duration now) {
  std::erase_if(given_, [&](const auto& entry) { return FindWork(entry.second.lease) == nullptr; });
  std::vector<Lease> expired;
  for (auto& [id, given] : given_) {
    if (given.expired || now < given.until) continue;
    given.expired = true;
    Work& work = *FindWork(given.lease);
    if (work.done) continue;
    --work.holders;
    expired.push_back(given.lease);
  }
  return expired;
}

}  // namespace percentdelta
