// How a shard reaches the others of its generation.

#ifndef PERCENTDELTA_SERVER_RPC_PEERS_H_
#define PERCENTDELTA_SERVER_RPC_PEERS_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/job.h"
#include "common/log.h"
#include "common/statistics.h"
#include "common/ticker.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "server/delta_collector.h"
#include "server/norm_reducer.h"

namespace percentdelta {

// Thread-safe; no call blocks. Calls that fail because a peer is away are repeated, about every
// half second, until the peer answers or Close() is called.
class Peers : public std::enable_shared_from_this<Peers> {
 public:
  // `addresses`: of the generation's shards by index; the first is the coordinator's.
  Peers(uint64_t generation, const std::vector<std::string>& addresses, const ModelSpec& model,
        Logger log);
  ~Peers();

  uint64_t generation() const { return generation_; }

  // Hands block sums to the tensor's home; `done` gets the norms of the whole tensor, or why there
  // will be none.
  void ReduceNorms(int home, const BlockSums& sums, NormsCallback done);

  // Hands what a step changed a slice by to the tensor's home.
  void CollectDeltas(int home, const DeltaSums& sums);

  // Tells the coordinator, in the order of the calls. What it refuses is dropped, and whatever
  // there is when it says that the generation has ended.
  void ReportStatistics(const TensorUpdate& update);

  // Ends all calls, those to be repeated among them, and returns when their callbacks have run.
  // Not to be called from a callback.
  void Close();

 private:
  struct NormsCall;
  struct ReportCall;

  void Send(const std::shared_ptr<NormsCall>& call);
  void End(const std::shared_ptr<NormsCall>& call, absl::StatusOr<NormSums> norms);
  void SendReports();

  // Sends again what could not be sent.
  void Repeat();

  const uint64_t generation_;
  const ModelSpec model_;
  const Logger log_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;  // to the shards
  std::vector<std::unique_ptr<v1::ParameterServer::Stub>> shards_;
  std::shared_ptr<grpc::Channel> coordinator_channel_;
  std::unique_ptr<v1::Coordinator::Stub> coordinator_;

  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<NormsCall>> calls_ ABSL_GUARDED_BY(mutex_);  // under way
  std::shared_ptr<ReportCall> report_ ABSL_GUARDED_BY(mutex_);          // under way
  std::deque<TensorUpdate> reports_ ABSL_GUARDED_BY(mutex_);            // not yet acknowledged

  // Of `calls_` and `report_`, those that wait to be repeated. (Not a grpc::Alarm: its timer waits
  // for a moment of the wall clock.)
  std::vector<std::shared_ptr<NormsCall>> waiting_calls_ ABSL_GUARDED_BY(mutex_);
  bool report_waits_ ABSL_GUARDED_BY(mutex_) = false;

  std::optional<Ticker> ticker_;  // until Close()
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_PEERS_H_
