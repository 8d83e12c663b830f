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
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "server/rpc/identity.h"
#include "server/shard/shard_peers.h"

namespace percentdelta {

// Thread-safe; no call but Close() blocks. Calls that fail because a peer is away are repeated,
// about every half second, until the peer answers or Close() is called.
class RemotePeers : public ShardPeers, public std::enable_shared_from_this<RemotePeers> {
 public:
  // `addresses`: of the generation's shards, by index.
  RemotePeers(uint64_t generation, const std::vector<std::string>& addresses,
              const ModelSpec& model, ShardIdentity self, Logger log);
  ~RemotePeers() override;

  // Begins to ask the other shards whether they are there, each until it says so. To be called
  // once.
  void Greet();

  // Why another shard has not been reached yet, as one sentence: something else answers at its
  // address, or nothing has for some seconds. Empty: none of that.
  std::string connection_error() const;

  void ReduceNorms(int home, const BlockSums& sums, NormsCallback done) override;
  void ReduceDeltaNorms(int home, const ProposedSums& sums, DeltaNormsCallback done) override;
  void CollectDeltas(int home, const DeltaSums& sums) override;

  // Ends all calls, those to be repeated among them, and returns when their callbacks have run.
  // Not to be called from a callback.
  void Close();

 private:
  struct NormsCall;
  struct Greeting;

  void SendGreeting(const std::shared_ptr<Greeting>& greeting);
  void EndGreeting(const std::shared_ptr<Greeting>& greeting, const absl::Status& status);

  template <typename Sum>
  std::shared_ptr<NormsCall> MakeCall(int home, const SliceSums<Sum>& sums) const;
  void Send(const std::shared_ptr<NormsCall>& call);
  void End(const std::shared_ptr<NormsCall>& call, const absl::Status& status);

  // Sends again what could not be sent.
  void Repeat();

  const uint64_t generation_;
  const std::vector<std::string> addresses_;
  const ModelSpec model_;
  const ShardIdentity self_;
  const Logger log_;
  const absl::Duration begin_;                            // by the steady clock
  std::vector<std::shared_ptr<grpc::Channel>> channels_;  // to the shards
  std::vector<std::unique_ptr<v1::ParameterServer::Stub>> shards_;

  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<NormsCall>> calls_ ABSL_GUARDED_BY(mutex_);     // under way
  std::set<std::shared_ptr<Greeting>> greetings_ ABSL_GUARDED_BY(mutex_);  // not answered yet
  std::map<int, std::string> connection_errors_ ABSL_GUARDED_BY(mutex_);   // by shard

  // Of `calls_`, those that wait to be repeated. (Not a grpc::Alarm: its timer waits
  // for a moment of the wall clock.)
  std::vector<std::shared_ptr<NormsCall>> waiting_calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Greeting>> waiting_greetings_ ABSL_GUARDED_BY(mutex_);

  std::optional<Ticker> ticker_;  // until Close()
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REMOTE_PEERS_H_
