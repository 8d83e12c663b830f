// Which processes are the cluster's shards, and which generation they form. A state machine
// without locks, clocks or I/O.

#ifndef PERCENTDELTA_SERVER_MEMBERSHIP_H_
#define PERCENTDELTA_SERVER_MEMBERSHIP_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/checkpoint/checkpoint_plan.h"

namespace percentdelta {

// What a shard says of itself, about once a second.
struct ShardBeat {
  int32_t shard = 0;
  int32_t shard_count = 0;
  std::string job_hash;
  std::string address;                      // where the others reach it
  uint64_t incarnation = 0;                 // drawn anew by every process, not 0
  uint64_t generation = 0;                  // what it has open; 0: nothing
  std::vector<CheckpointPart> parts = {};   // of checkpoints, that it has written
  std::string trouble = {};                 // why it cannot enter the generation; empty: it can
  int64_t gathered_steps = 0;               // it has all gradients of the steps below
  std::vector<int32_t> missing_slots = {};  // of step `gathered_steps`, that it lacks
};

// Not thread-safe.
class Membership {
 public:
  // The first generation to be opened is `first_generation`.
  Membership(int shard_count, std::string job_hash, uint64_t first_generation);

  // Takes a beat. Returns whether a new generation is to be opened: all shards are there, and one
  // of them is new since the last one was.
  //   kFailedPrecondition  another job or number of shards than ours, no such index, no incarnation
  //   kAlreadyExists       a newer process has taken this shard's place: leave
  absl::StatusOr<bool> Beat(const ShardBeat& beat, absl::Duration now);

  bool needs_generation() const { return changed_ && missing().empty(); }

  // Opens a generation with the processes that there are now: `at_least`, or the next one if that
  // was passed already.
  void Open(uint64_t at_least);
  uint64_t next_generation() const { return next_generation_; }

  // 0 while shards are missing for the first time.
  uint64_t generation() const { return generation_; }

  // Whether every shard has said that it has opened the present generation: until then work that
  // is handed out would find closed doors.
  bool entered() const;

  // What the first shard that cannot enter the present generation says; empty: there is none.
  std::string trouble() const;

  // By index; of the present generation.
  const std::vector<std::string>& addresses() const { return addresses_; }

  std::vector<int32_t> missing() const;

  // The shard that has been silent longest, if it has been for more than `limit`.
  struct Silent {
    int shard;
    std::string address;
    absl::Duration since;
  };
  std::optional<Silent> FindSilent(absl::Duration now, absl::Duration limit) const;

 private:
  struct Member {
    std::string address;
    uint64_t incarnation = 0;  // 0: not there yet
    uint64_t generation = 0;   // what it has open
    absl::Duration last_beat;
    std::string trouble;
    std::set<uint64_t> replaced;  // incarnations that lost their place
  };

  const std::string job_hash_;
  std::vector<Member> members_;
  uint64_t next_generation_;
  uint64_t generation_ = 0;
  bool changed_ = false;  // since it was opened
  std::vector<std::string> addresses_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_MEMBERSHIP_H_
