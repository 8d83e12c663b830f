// SPDX-License-Identifier: Apache-2.0

// The gRPC services of a server. An RPC that only converts its request, asks the shard or the
// coordinator, and converts the answer is handled in services.cc; every other one has a file of its
// own, named like the RPC.

#ifndef PERCENTDELTA_SERVER_RPC_SERVICES_H_
#define PERCENTDELTA_SERVER_RPC_SERVICES_H_

#include <utility>

#include "common/job/partition.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "percentdelta/v1/statistics.grpc.pb.h"
#include "server/coordinator/coordinator.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/identity.h"
#include "server/rpc/lease_ids.h"
#include "server/rpc/refusal_log.h"
#include "server/shard/shard.h"

namespace percentdelta {

// Pull and Push handle serialized messages (common/transport/chunk_codec.h), the other RPCs parsed
// ones.
using RawParameterServer =
    v1::ParameterServer::WithRawCallbackMethod_Pull<v1::ParameterServer::WithRawCallbackMethod_Push<
        v1::ParameterServer::WithCallbackMethod_ReduceNorms<
            v1::ParameterServer::WithCallbackMethod_Identify<v1::ParameterServer::Service>>>>;

// Whether a call may be made at all is checked before it comes here (gatekeeper.h). The services
// check what depends on the request: that a server speaks for its own shard, and a worker of its
// own leases.

// Thread-safe. `shard` and `limiter` must outlive the service.
class ParameterServerService : public RawParameterServer {
 public:
  ParameterServerService(const Shard& shard, ShardIdentity identity, CallLimiter& limiter)
      : shard_(shard), identity_(std::move(identity)), limiter_(limiter) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Pull(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* Push(grpc::CallbackServerContext* context,
                                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ReduceNorms(grpc::CallbackServerContext* context,
                                        const v1::ReduceNormsRequest* request,
                                        v1::ReduceNormsResponse* response) override;
  grpc::ServerUnaryReactor* Identify(grpc::CallbackServerContext* context,
                                     const v1::IdentifyRequest* request,
                                     v1::IdentifyResponse* response) override;

 private:
  const Shard& shard_;
  const ShardIdentity identity_;
  CallLimiter& limiter_;
};

// Thread-safe. `coordinator`, `refusals` and `limiter` must outlive the service.
class CoordinatorService : public v1::Coordinator::CallbackService {
 public:
  CoordinatorService(Coordinator& coordinator, RefusalLog& refusals, CallLimiter& limiter)
      : coordinator_(coordinator),
        refusals_(refusals),
        limiter_(limiter),
        partition_(coordinator.job().model, coordinator.shard_count()) {}

  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request,
                                   v1::GetJobResponse* response) override;
  grpc::ServerUnaryReactor* AcquireLease(grpc::CallbackServerContext* context,
                                         const v1::AcquireLeaseRequest* request,
                                         v1::Lease* response) override;
  grpc::ServerUnaryReactor* CompleteLease(grpc::CallbackServerContext* context,
                                          const v1::CompleteLeaseRequest* request,
                                          v1::Lease* response) override;
  grpc::ServerUnaryReactor* RenewLease(grpc::CallbackServerContext* context,
                                       const v1::RenewLeaseRequest* request,
                                       v1::RenewLeaseResponse* response) override;
  grpc::ServerUnaryReactor* TakeCheckpoint(grpc::CallbackServerContext* context,
                                           const v1::TakeCheckpointRequest* request,
                                           v1::TakeCheckpointResponse* response) override;
  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context,
                                  const v1::PauseRequest* request,
                                  v1::PauseResponse* response) override;
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context,
                                   const v1::ResumeRequest* request,
                                   v1::ResumeResponse* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;
  grpc::ServerUnaryReactor* GetProgress(grpc::CallbackServerContext* context,
                                        const v1::GetProgressRequest* request,
                                        v1::GetProgressResponse* response) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatResponse* response) override;
  grpc::ServerUnaryReactor* ReportStatistics(grpc::CallbackServerContext* context,
                                             const v1::ReportStatisticsRequest* request,
                                             v1::ReportStatisticsResponse* response) override;

 private:
  Coordinator& coordinator_;
  RefusalLog& refusals_;
  CallLimiter& limiter_;
  const LeaseIds lease_ids_;
  const Partition partition_;
};

// Thread-safe. `ring` and `limiter` must outlive the service.
class StatisticsService : public v1::Statistics::CallbackService {
 public:
  StatisticsService(StatisticsRing& ring, CallLimiter& limiter) : ring_(ring), limiter_(limiter) {}

  grpc::ServerUnaryReactor* GetUpdateStatistics(grpc::CallbackServerContext* context,
                                                const v1::GetUpdateStatisticsRequest* request,
                                                v1::GetUpdateStatisticsResponse* response) override;
  grpc::ServerWriteReactor<v1::StepStatistics>* WatchUpdateStatistics(
      grpc::CallbackServerContext* context,
      const v1::WatchUpdateStatisticsRequest* request) override;

 private:
  StatisticsRing& ring_;
  CallLimiter& limiter_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_SERVICES_H_
