#include "server/membership.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace percentdelta {

Membership::Membership(int shard_count, std::string job_hash, uint64_t first_generation)
    : job_hash_(std::move(job_hash)), members_(shard_count), next_generation_(first_generation) {}

absl::StatusOr<bool> Membership::Beat(const ShardBeat& beat, absl::Duration now) {
  const auto count = static_cast<int32_t>(members_.size());
  if (beat.shard_count != count) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard ", beat.shard, " at ", beat.address, ": expected ", count,
                     " shards as the coordinator has, got ", beat.shard_count,
                     "; give all servers the same --shards"));
  }
  if (beat.shard < 0 || beat.shard >= count) {
    return absl::FailedPreconditionError(absl::StrCat("shard ", beat.shard, " at ", beat.address,
                                                      ": expected an index in 0..", count - 1,
                                                      ", got ", beat.shard));
  }
  if (beat.job_hash != job_hash_) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard ", beat.shard, " at ", beat.address,
                     ": expected the coordinator's job ", job_hash_.substr(0, 12), ", got job ",
                     beat.job_hash.substr(0, 12), "; give all servers the same --job"));
  }
  if (beat.incarnation == 0) {
    return absl::FailedPreconditionError(absl::StrCat("shard ", beat.shard, " at ", beat.address,
                                                      ": expected an incarnation other than 0, got"
                                                      " 0"));
  }
  Member& member = members_[beat.shard];
  if (member.replaced.contains(beat.incarnation)) {
    return absl::AlreadyExistsError(
        absl::StrCat("shard ", beat.shard,
                     ": expected to be the only one, got a newer process"
                     " at ",
                     member.address, " in its place"));
  }
  member.last_beat = now;
  member.generation = beat.generation;
  member.trouble = beat.trouble;
  if (member.incarnation == beat.incarnation && member.address == beat.address) {
    return needs_generation();
  }
  if (member.incarnation != 0 && member.incarnation != beat.incarnation) {
    member.replaced.insert(member.incarnation);
  }
  member.incarnation = beat.incarnation;
  member.address = beat.address;
  changed_ = true;
  return needs_generation();
}

void Membership::Open(uint64_t at_least) {
  generation_ = std::max(at_least, next_generation_);
  next_generation_ = generation_ + 1;
  changed_ = false;
  addresses_.clear();
  for (const Member& member : members_) addresses_.push_back(member.address);
}

std::string Membership::trouble() const {
  for (size_t i = 0; i < members_.size(); ++i) {
    if (!members_[i].trouble.empty()) return absl::StrCat("shard ", i, ": ", members_[i].trouble);
  }
  return "";
}

bool Membership::entered() const {
  return generation_ != 0 &&
         std::all_of(members_.begin(), members_.end(),
                     [&](const Member& member) { return member.generation == generation_; });
}

std::vector<int32_t> Membership::missing() const {
  std::vector<int32_t> missing;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].incarnation == 0) missing.push_back(static_cast<int32_t>(i));
  }
  return missing;
}

std::optional<Membership::Silent> Membership::FindSilent(absl::Duration now,
                                                         absl::Duration limit) const {
  std::optional<Silent> silent;
  for (size_t i = 0; i < members_.size(); ++i) {
    const absl::Duration since = now - members_[i].last_beat;
    if (members_[i].incarnation == 0 || since <= limit) continue;
    if (!silent || since > silent->since) {
      silent = Silent{static_cast<int>(i), members_[i].address, since};
    }
  }
  return silent;
}

}  // namespace percentdelta
