// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

// Holds the call's place until the response is sent.
class QueryCall : public grpc::ServerUnaryReactor {
 public:
  explicit QueryCall(CallLimiter::Place place) : place_(std::move(place)) {}
  void OnDone() override { delete this; }

 private:
  const CallLimiter::Place place_;
};

}  // namespace

grpc::ServerUnaryReactor* Answer(CallLimiter& limiter, grpc::CallbackServerContext* context,
                                 const absl::Status& status) {
  if (!status.ok()) limiter.Refused(context->peer());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

grpc::ServerUnaryReactor* AnswerQuery(CallLimiter& limiter, grpc::CallbackServerContext* context,
                                      absl::FunctionRef<absl::Status()> fill) {
  absl::StatusOr<CallLimiter::Place> place = limiter.Admit(CallKind::kQuery, context->peer());
  if (!place.ok()) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(place.status()));
    return reactor;
  }
  auto* call = new QueryCall(*std::move(place));
  call->Finish(ToGrpc(fill()));
  return call;
}

}  // namespace percentdelta
