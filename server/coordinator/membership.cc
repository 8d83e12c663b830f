// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/membership.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"

namespace percentdelta {

Membership::Membership(int shard_count, std::string job_hash, uint64_t first_generation)
    : job_hash_(std::move(job_hash)), members_(shard_count), next_generation_(first_generation) {}

absl::Status Membership::CheckBeat(const ShardBeat& beat) const {
  RETURN_IF_ERROR(CheckAdvertised("the shard's address", beat.address));
  const auto count = static_cast<int32_t>(members_.size());
  const std::string who = absl::StrCat("shard ", beat.shard, " at ", beat.address);
  if (beat.shard_count != count) {
    return absl::FailedPreconditionError(
        absl::StrCat(who, ": expected ", count, " shards as the coordinator has, got ",
                     beat.shard_count, "; give all servers the same --shards"));
  }
  if (beat.shard < 0 || beat.shard >= count) {
    return absl::FailedPreconditionError(
        absl::StrCat(who, ": expected an index in 0..", count - 1, ", got ", beat.shard));
  }
  if (beat.job_hash != job_hash_) {
    return absl::FailedPreconditionError(absl::StrCat(
        who, ": expected the coordinator's job ", job_hash_.substr(0, 12), ", got job ",
        absl::CHexEscape(beat.job_hash.substr(0, 12)), "; give all servers the same --job"));
  }
  if (beat.incarnation == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(who, ": expected an incarnation other than 0, got 0"));
  }
  if (members_[beat.shard].replaced.contains(beat.incarnation)) {
    return absl::AlreadyExistsError(
        absl::StrCat("shard ", beat.shard, ": expected to be the only process, got a newer one at ",
                     members_[beat.shard].newcomer ? members_[beat.shard].newcomer->address
                                                   : members_[beat.shard].address,
                     " in its place"));
  }
  return absl::OkStatus();
}

// Checks that no other live shard has the newcomer's address. The other one may be dead and its
// port reused by the newcomer: both are certainly alive only if the other one has beaten since the
// newcomer came.
absl::Status Membership::CheckAddress(const ShardBeat& beat) const {
  for (size_t i = 0; i < members_.size(); ++i) {
    const Member& other = members_[i];
    if (static_cast<int32_t>(i) == beat.shard || other.incarnation == 0) continue;
    if (other.address != beat.address) continue;
    if (other.last_beat <= members_[beat.shard].newcomer_since) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("shard ", beat.shard, ": expected an address of its own, got ", beat.address,
                     ", where shard ", i, " answers; give each server its own --advertise"));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Membership::Beat(const ShardBeat& beat, absl::Duration now) {
  RETURN_IF_ERROR(CheckBeat(beat));
  Member& member = members_[beat.shard];
  if (IsMember(beat)) {
    member.last_beat = now;
    member.generation = beat.generation;
    member.problem = beat.problem;
    member.gathered_steps = beat.gathered_steps;
    member.load = beat.load;
    return needs_generation();
  }
  const Newcomer newcomer = {beat.shard, beat.address, beat.incarnation};
  if (member.newcomer == newcomer) {
    RETURN_IF_ERROR(CheckAddress(beat));
    member.newcomer_beat = now;
    return needs_generation();
  }
  if (member.newcomer && member.newcomer->incarnation != beat.incarnation &&
      member.newcomer->incarnation != member.incarnation) {
    member.replaced.insert(member.newcomer->incarnation);
  }
  member.newcomer = newcomer;
  member.newcomer_since = now;
  member.newcomer_beat = now;
  member.rejection.clear();
  return needs_generation();
}

bool Membership::IsMember(const ShardBeat& beat) const {
  const Member& member = members_[beat.shard];
  return member.incarnation == beat.incarnation && member.address == beat.address;
}

std::optional<Newcomer> Membership::newcomer(int shard) const { return members_[shard].newcomer; }

bool Membership::Admit(const Newcomer& newcomer) {
  Member& member = members_[newcomer.shard];
  if (member.newcomer != newcomer) return needs_generation();
  if (member.incarnation != 0 && member.incarnation != newcomer.incarnation) {
    member.replaced.insert(member.incarnation);
  }
  for (Member& other : members_) {
    if (&other != &member && other.address == newcomer.address) other.incarnation = 0;
  }
  member.incarnation = newcomer.incarnation;
  member.address = newcomer.address;
  member.generation = 0;
  member.last_beat = member.newcomer_beat;
  member.problem.clear();
  member.load.reset();
  member.newcomer.reset();
  member.rejection.clear();
  changed_ = true;
  return needs_generation();
}

bool Membership::Reject(const Newcomer& newcomer, std::string reason) {
  Member& member = members_[newcomer.shard];
  if (member.newcomer != newcomer || member.rejection == reason) return false;
  member.rejection = std::move(reason);
  return true;
}

std::string Membership::rejections() const {
  std::vector<absl::string_view> reasons;
  for (const Member& member : members_) {
    if (!member.rejection.empty()) reasons.push_back(member.rejection);
  }
  return absl::StrJoin(reasons, "; ");
}

void Membership::Open(uint64_t at_least, const std::string& checkpoint, int64_t step) {
  opened_ = ClusterView();
  opened_.generation = std::max(at_least, next_generation_);
  opened_.checkpoint = checkpoint;
  opened_.step = step;
  for (const Member& member : members_) opened_.addresses.push_back(member.address);
  next_generation_ = opened_.generation + 1;
  changed_ = false;
}

ClusterView Membership::view() const {
  ClusterView view;
  if (!needs_generation()) view = opened_;
  view.missing = missing();
  return view;
}

ClusterView Membership::ViewFor(const ShardBeat& beat) const {
  if (IsMember(beat)) return view();
  ClusterView view;
  view.missing = missing();
  if (!absl::c_linear_search(view.missing, beat.shard)) view.missing.push_back(beat.shard);
  view.message = members_[beat.shard].rejection;
  return view;
}

std::string Membership::FirstProblem() const {
  for (size_t i = 0; i < members_.size(); ++i) {
    if (!members_[i].problem.empty()) return absl::StrCat("shard ", i, ": ", members_[i].problem);
  }
  return "";
}

bool Membership::entered() const {
  return generation() != 0 &&
         std::all_of(members_.begin(), members_.end(),
                     [&](const Member& member) { return member.generation == generation(); });
}

std::vector<int32_t> Membership::missing() const {
  std::vector<int32_t> missing;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].incarnation == 0) missing.push_back(static_cast<int32_t>(i));
  }
  return missing;
}

ShardActivity Membership::Activity(int shard, absl::Duration now) const {
  const Member& member = members_[shard];
  ShardActivity activity;
  if (member.incarnation == 0) return activity;
  activity.address = member.address;
  activity.silent = now - member.last_beat;
  activity.entered = generation() != 0 && member.generation == generation();
  activity.gathered_steps = member.gathered_steps;
  activity.problem = member.problem;
  activity.load = member.load;
  return activity;
}

std::optional<Membership::Silent> Membership::FindSilent(absl::Duration now,
                                                         absl::Duration limit) const {
  std::optional<Silent> silent;
  for (size_t i = 0; i < members_.size(); ++i) {
    const absl::Duration duration = now - members_[i].last_beat;
    if (members_[i].incarnation == 0 || duration <= limit) continue;
    if (!silent || duration > silent->duration) {
      silent = Silent{static_cast<int>(i), members_[i].address, duration};
    }
  }
  return silent;
}

}  // namespace percentdelta
