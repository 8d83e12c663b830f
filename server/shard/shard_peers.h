// SPDX-License-Identifier: Apache-2.0

// The other shards of a shard's generation, as the shard sees them. Implemented by
// server/rpc/remote_peers.h, and by tests.

#ifndef PERCENTDELTA_SERVER_SHARD_SHARD_PEERS_H_
#define PERCENTDELTA_SERVER_SHARD_SHARD_PEERS_H_

#include "server/shard/block_sums.h"
#include "server/shard/norm_reducer.h"

namespace percentdelta {

// Implementations are thread-safe, and belong to one generation. Their methods must not block:
// update threads call them. A ShardState shares ownership of its peers, and calls them as long as
// it lives, also after its generation has ended.
class ShardPeers {
 public:
  virtual ~ShardPeers() = default;

  // Sends a slice's block sums to the tensor's home, another shard. Calls `done` exactly once, on
  // any thread: with the norms of the whole tensor, or with an error when there will be none, as
  // after the end of the generation. `done` may run before ReduceNorms() returns.
  virtual void ReduceNorms(int home, const BlockSums& sums, NormsCallback done) = 0;

  // The same for the proposal of a step, of rules that need norms of their delta (server/update/optimizer.h).
  virtual void ReduceDeltaNorms(int home, const ProposedSums& sums, DeltaNormsCallback done) = 0;

  // Sends how much a step changed a slice to the tensor's home, another shard. Best effort.
  virtual void CollectDeltas(int home, const DeltaSums& sums) = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_SHARD_SHARD_PEERS_H_
