// SPDX-License-Identifier: Apache-2.0

// Which processes are the cluster's shards, and which generation they form. A state machine
// without locks, clocks or I/O.

#ifndef PERCENTDELTA_SERVER_COORDINATOR_MEMBERSHIP_H_
#define PERCENTDELTA_SERVER_COORDINATOR_MEMBERSHIP_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster/activity.h"
#include "common/cluster/heartbeat.h"

namespace percentdelta {

// A process that claims to be a shard, and that has not yet been called back at the address that it
// advertises.
struct Newcomer {
  int32_t shard = 0;
  std::string address;
  uint64_t incarnation = 0;

  friend bool operator==(const Newcomer&, const Newcomer&) = default;
};

// Not thread-safe.
class Membership {
 public:
  // The first generation will be `first_generation`.
  Membership(int shard_count, std::string job_hash, uint64_t first_generation);

  // Takes a heartbeat. A process that is new, or has moved, becomes the shard's newcomer; the
  // previous process stays the member until Admit(). Returns needs_generation().
  //   kInvalidArgument     the address is not HOST:PORT or cannot be connected to
  //   kFailedPrecondition  another job or number of shards than ours, no such shard, no
  //                        incarnation; the address of another shard, which was admitted there and
  //                        still beats
  //   kAlreadyExists       a newer process has replaced this one, which should exit
  absl::StatusOr<bool> Beat(const ShardBeat& beat, absl::Duration now);

  // The process to be called back for `shard`; nothing if there is none.
  std::optional<Newcomer> newcomer(int shard) const;

  // The newcomer answered at its address: makes it the member. A shard that had this address before
  // is missing from then on. No effect if another newcomer has come since. Returns
  // needs_generation().
  bool Admit(const Newcomer& newcomer);

  // The newcomer did not answer; `reason` is a sentence. No effect if another has come since.
  // Returns whether the reason is new.
  bool Reject(const Newcomer& newcomer, std::string reason);

  // Why newcomers are not members, one sentence for each shard. Empty: there are none, or they have
  // not been called back yet.
  std::string rejections() const;

  // Whether the heartbeat is a member's.
  bool IsMember(const ShardBeat& beat) const;

  // The current generation must be replaced, although no shard is new.
  void RequireGeneration() { changed_ = true; }

  // Whether all shards are members, one of which is new since the current generation opened, or
  // RequireGeneration() was called since.
  bool needs_generation() const { return changed_ && missing().empty(); }

  // Opens a generation of the current members: number `at_least`, or next_generation() if that is
  // greater. It starts with the checkpoint in this directory (empty: the job's initial weights),
  // which is of `step`.
  void Open(uint64_t at_least, const std::string& checkpoint = "", int64_t step = 0);
  uint64_t next_generation() const { return next_generation_; }

  // 0 before the first one.
  uint64_t generation() const { return opened_.generation; }

  // Where the shards of the current generation are, by index.
  const std::vector<std::string>& addresses() const { return opened_.addresses; }

  // What the current generation starts with. Empty and 0: the job's initial weights.
  const std::string& checkpoint() const { return opened_.checkpoint; }
  int64_t first_step() const { return opened_.step; }

  // The view for members and clients. Its generation is 0 while one has to be opened: a new
  // process must not enter the generation that it ended.
  ClusterView view() const;

  // The view for the sender of a heartbeat. A process that is not a member does not learn what is
  // open, but why it was rejected.
  ClusterView ViewFor(const ShardBeat& beat) const;

  // Whether every shard has reported that it entered the current generation. Work that is handed
  // out before would be refused.
  bool entered() const;

  // What the first shard reports that cannot enter the current generation or reach another shard.
  // Empty: no shard reports a problem.
  std::string FirstProblem() const;

  std::vector<int32_t> missing() const;

  int shard_count() const { return static_cast<int>(members_.size()); }
  uint64_t incarnation(int shard) const { return members_[shard].incarnation; }  // 0: missing
  ShardActivity Activity(int shard, absl::Duration now) const;

  // The shard whose last heartbeat is the oldest, if it is older than `limit`.
  struct Silent {
    int shard;
    std::string address;
    absl::Duration duration;
  };
  std::optional<Silent> FindSilent(absl::Duration now, absl::Duration limit) const;

 private:
  struct Member {
    std::string address;
    uint64_t incarnation = 0;  // 0: missing
    uint64_t generation = 0;   // that it has entered
    absl::Duration last_beat;
    std::string problem;  // that it reports
    int64_t gathered_steps = 0;
    std::optional<ShardLoad> load;
    std::set<uint64_t> replaced;  // incarnations
    std::optional<Newcomer> newcomer;
    absl::Duration newcomer_since;
    absl::Duration newcomer_beat;  // its last
    std::string rejection;         // of the newcomer
  };

  absl::Status CheckBeat(const ShardBeat& beat) const;
  absl::Status CheckAddress(const ShardBeat& beat) const;

  const std::string job_hash_;
  std::vector<Member> members_;
  uint64_t next_generation_;
  ClusterView opened_;    // the current generation, of 0 before the first one
  bool changed_ = false;  // since it was opened, or it must be replaced
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_MEMBERSHIP_H_
