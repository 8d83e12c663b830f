// SPDX-License-Identifier: Apache-2.0

// The other shards of a generation, over gRPC.

#ifndef PERCENTDELTA_SERVER_RPC_REMOTE_PEERS_H_
#define PERCENTDELTA_SERVER_RPC_REMOTE_PEERS_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/log.h"
#include "common/base/ticker.h"
#include "common/job/job.h"
#include "common/transport/credentials.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "server/rpc/identity.h"
#include "server/shard/shard_peers.h"

namespace percentdelta {

// Thread-safe. Only Close() blocks, and it must be called before the last reference goes. Calls
// that fail because a peer is unreachable are repeated about every half second until the peer
// answers or Close() is called.
class RemotePeers : public ShardPeers, public std::enable_shared_from_this<RemotePeers> {
 public:
  // `addresses` are those of the generation's shards, by index. `credentials`: see MakeChannel.
  RemotePeers(uint64_t generation, const std::vector<std::string>& addresses,
              const ModelSpec& model, ShardIdentity self, Logger log,
              const std::shared_ptr<const ClientCredentials>& credentials = nullptr);
  ~RemotePeers() override;

  // Starts to call each other shard until it has answered at its address. Must be called at most
  // once.
  void IdentifyAll();

  // Why a shard has not been reached yet, in one sentence: another process answers at its address,
  // or none has answered for some seconds. Empty: no shard has such an error.
  std::string connection_error() const;

  void ReduceNorms(int home, const BlockSums& sums, NormsCallback done) override;
  void ReduceDeltaNorms(int home, const ProposedSums& sums, DeltaNormsCallback done) override;
  void CollectDeltas(int home, const DeltaSums& sums) override;

  // Cancels all calls, including those to be repeated, and returns when their callbacks have run.
  // Must not be called from a callback.
  void Close();

 private:
  struct IdentifyCall;
  struct NormsCall;

  void Send(const std::shared_ptr<IdentifyCall>& call);
  void End(const std::shared_ptr<IdentifyCall>& call, const absl::Status& status);

  template <typename Sum>
  std::shared_ptr<NormsCall> MakeCall(int home, const SliceSums<Sum>& sums) const;
  void Send(const std::shared_ptr<NormsCall>& call);
  void End(const std::shared_ptr<NormsCall>& call, const absl::Status& status);
  void Finish(const std::shared_ptr<NormsCall>& call, const absl::Status& status);

  // Repeats the calls that have failed since the last time.
  void Retry();

  const uint64_t generation_;
  const std::vector<std::string> addresses_;
  const ModelSpec model_;
  const ShardIdentity self_;
  const Logger log_;
  const absl::Duration created_at_;                                // by the steady clock
  std::vector<std::shared_ptr<grpc::Channel>> channels_;           // by shard; constant
  std::vector<std::unique_ptr<v1::ParameterServer::Stub>> stubs_;  // by shard; constant

  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<int, std::string> connection_errors_ ABSL_GUARDED_BY(mutex_);  // by shard

  // Calls without a final answer: in flight, or to be repeated.
  std::set<std::shared_ptr<IdentifyCall>> identify_calls_ ABSL_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<NormsCall>> norms_calls_ ABSL_GUARDED_BY(mutex_);

  // Those of them that are to be repeated. (Not by a grpc::Alarm, whose timer follows the wall
  // clock.)
  std::vector<std::shared_ptr<IdentifyCall>> identify_retries_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<NormsCall>> norms_retries_ ABSL_GUARDED_BY(mutex_);

  std::optional<Ticker> ticker_;  // calls Retry(), until Close()
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REMOTE_PEERS_H_
