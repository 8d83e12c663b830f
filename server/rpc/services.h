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
#include "server/rpc/access_policy.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/identity.h"
#include "server/rpc/lease_ids.h"
#include "server/rpc/refusal_log.h"
#include "server/shard/shard.h"

namespace percentdelta {

// All RPCs come as serialized messages: a request is measured before it is parsed (request.h), and
// values move without a copy (common/transport/chunk_codec.h).
using RawParameterServer =
    v1::ParameterServer::WithRawCallbackMethod_Pull<v1::ParameterServer::WithRawCallbackMethod_Push<
        v1::ParameterServer::WithRawCallbackMethod_ReduceNorms<
            v1::ParameterServer::WithRawCallbackMethod_Identify<v1::ParameterServer::Service>>>>;
using RawCoordinator = v1::Coordinator::WithRawCallbackMethod_GetJob<
    v1::Coordinator::WithRawCallbackMethod_AcquireLease<
        v1::Coordinator::WithRawCallbackMethod_CompleteLease<
            v1::Coordinator::WithRawCallbackMethod_RenewLease<
                v1::Coordinator::WithRawCallbackMethod_TakeCheckpoint<
                    v1::Coordinator::WithRawCallbackMethod_Pause<
                        v1::Coordinator::WithRawCallbackMethod_Resume<
                            v1::Coordinator::WithRawCallbackMethod_Drain<
                                v1::Coordinator::WithRawCallbackMethod_GetProgress<
                                    v1::Coordinator::WithRawCallbackMethod_Heartbeat<
                                        v1::Coordinator::WithRawCallbackMethod_ReportStatistics<
                                            v1::Coordinator::Service>>>>>>>>>>>;
using RawStatistics = v1::Statistics::WithRawCallbackMethod_GetUpdateStatistics<
    v1::Statistics::WithRawCallbackMethod_WatchUpdateStatistics<v1::Statistics::Service>>;

// Whether a call may be made at all is checked before it comes here (gatekeeper.h). The services
// check what depends on the request: that a server speaks for its own shard, and a worker of its
// own leases.

// Thread-safe. `shard`, `limiter` and `policy` must outlive the service. Null policy: everybody is
// served.
class ParameterServerService : public RawParameterServer {
 public:
  ParameterServerService(const Shard& shard, ShardIdentity identity, CallLimiter& limiter,
                         const AccessPolicy* policy = nullptr)
      : shard_(shard), identity_(std::move(identity)), limiter_(limiter), policy_(policy) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Pull(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* Push(grpc::CallbackServerContext* context,
                                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ReduceNorms(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Identify(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;

 private:
  const Shard& shard_;
  const ShardIdentity identity_;
  CallLimiter& limiter_;
  const AccessPolicy* const policy_;
};

// Thread-safe. `coordinator`, `refusals` and `limiter` must outlive the service.
class CoordinatorService : public RawCoordinator {
 public:
  CoordinatorService(Coordinator& coordinator, RefusalLog& refusals, CallLimiter& limiter)
      : coordinator_(coordinator),
        refusals_(refusals),
        limiter_(limiter),
        partition_(coordinator.job().model, coordinator.shard_count()) {}

  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* AcquireLease(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CompleteLease(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* RenewLease(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* TakeCheckpoint(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetProgress(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ReportStatistics(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;

 private:
  Coordinator& coordinator_;
  RefusalLog& refusals_;
  CallLimiter& limiter_;
  const LeaseIds lease_ids_;
  const Partition partition_;
};

// Thread-safe. `ring` and `limiter` must outlive the service.
class StatisticsService : public RawStatistics {
 public:
  StatisticsService(StatisticsRing& ring, CallLimiter& limiter) : ring_(ring), limiter_(limiter) {}

  grpc::ServerUnaryReactor* GetUpdateStatistics(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchUpdateStatistics(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override;

 private:
  StatisticsRing& ring_;
  CallLimiter& limiter_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_SERVICES_H_
