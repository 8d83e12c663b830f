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
#include "common/cluster/heartbeat.h"

namespace percentdelta {

// A process that says it is a shard, and has not been called back yet at the address it
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
  // The first generation to be opened is `first_generation`.
  Membership(int shard_count, std::string job_hash, uint64_t first_generation);

  // Takes a beat. A process that is new, or has moved, becomes the shard's newcomer; the one
  // before it keeps its place until Admit(). Returns whether a new generation is to be opened:
  // all shards are there, and one of them is new since the last one was.
  //   kInvalidArgument     an address that is not HOST:PORT or that nobody can connect to
  //   kFailedPrecondition  another job or number of shards than ours, no such index, no
  //   incarnation;
  //                        the address of another shard, which was admitted there and still beats
  //   kAlreadyExists       a newer process has taken this shard's place: leave
  absl::StatusOr<bool> Beat(const ShardBeat& beat, absl::Duration now);

  // The process that is to be called back for `shard`; none if it is in its place.
  std::optional<Newcomer> newcomer(int shard) const;

  // It answered at its address: it takes its shard's place, and a shard that was there before is
  // missing. Nothing changes if another newcomer has come since. Returns as Beat does.
  bool Admit(const Newcomer& newcomer);

  // It did not, for this reason, which is a sentence. Nothing changes if another has come since.
  // Returns whether the reason is news.
  bool Reject(const Newcomer& newcomer, std::string reason);

  // Why newcomers are not in their places, one sentence each shard; empty: there are none, or
  // they have not been called back yet.
  std::string rejections() const;
  const std::string& rejection(int shard) const { return members_[shard].rejection; }

  // Whether the beat is of a process in its place.
  bool IsMember(const ShardBeat& beat) const;

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

  // What the first shard says that cannot enter the present generation, or reach another shard;
  // empty: there is none.
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
  uint64_t generation_ = 0;
  bool changed_ = false;  // since it was opened
  std::vector<std::string> addresses_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_COORDINATOR_MEMBERSHIP_H_
