// How a shard reaches the others of its generation.

#ifndef PERCENTDELTA_SERVER_RPC_PEERS_H_
#define PERCENTDELTA_SERVER_RPC_PEERS_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <deque>
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
#include "common/cluster/statistics.h"
#include "common/job/job.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "server/rpc/identity.h"
#include "server/shard/delta_collector.h"
#include "server/shard/norm_reducer.h"

namespace percentdelta {

// Thread-safe; no call blocks. Calls that fail because a peer is away are repeated, about every
// half second, until the peer answers or Close() is called.
class Peers : public std::enable_shared_from_this<Peers> {
 public:
  // `addresses`: of the generation's shards by index; the first is the coordinator's.
  Peers(uint64_t generation, const std::vector<std::string>& addresses, const ModelSpec& model,
        ShardIdentity self, Logger log);
  ~Peers();

  // Begins to ask the other shards whether they are there, each until it says so. To be called
  // once.
  void Greet();

  // Why another shard has not been reached yet, as one sentence: something else answers at its
  // address, or nothing has for some seconds. Empty: none of that.
  std::string trouble() const;

  uint64_t generation() const { return generation_; }

  // Hands block sums to the tensor's home; `done` gets the norms of the whole tensor, or why there
  // will be none.
  void ReduceNorms(int home, const BlockSums& sums, NormsCallback done);

  // Hands what a step changed a slice by to the tensor's home.
  void CollectDeltas(int home, const DeltaSums& sums);

  // Tells the coordinator, in the order of the calls. What it refuses is dropped, and whatever
  // there is when it says that the generation has ended.
  void ReportStatistics(const TensorStatistics& update);

  // Ends all calls, those to be repeated among them, and returns when their callbacks have run.
  // Not to be called from a callback.
  void Close();

 private:
  struct NormsCall;
  struct Greeting;
  struct ReportCall;

  void SendGreeting(const std::shared_ptr<Greeting>& greeting);
  void EndGreeting(const std::shared_ptr<Greeting>& greeting, const absl::Status& status);

  void Send(const std::shared_ptr<NormsCall>& call);
  void End(const std::shared_ptr<NormsCall>& call, absl::StatusOr<NormSums> norms);
  void SendReports();

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
  std::shared_ptr<grpc::Channel> coordinator_channel_;
  std::unique_ptr<v1::Coordinator::Stub> coordinator_;

  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<NormsCall>> calls_ ABSL_GUARDED_BY(mutex_);     // under way
  std::set<std::shared_ptr<Greeting>> greetings_ ABSL_GUARDED_BY(mutex_);  // not answered yet
  std::map<int, std::string> trouble_ ABSL_GUARDED_BY(mutex_);             // by shard
  std::shared_ptr<ReportCall> report_ ABSL_GUARDED_BY(mutex_);             // under way
  std::deque<TensorStatistics> reports_ ABSL_GUARDED_BY(mutex_);           // not yet acknowledged

  // Of `calls_` and `report_`, those that wait to be repeated. (Not a grpc::Alarm: its timer waits
  // for a moment of the wall clock.)
  std::vector<std::shared_ptr<NormsCall>> waiting_calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Greeting>> waiting_greetings_ ABSL_GUARDED_BY(mutex_);
  bool report_waits_ ABSL_GUARDED_BY(mutex_) = false;

  std::optional<Ticker> ticker_;  // until Close()
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PEERS_H_
