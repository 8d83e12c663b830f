// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "common/transport/chunk_codec.h"
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

grpc::ServerUnaryReactor* Answer(CallLimiter& limiter, const UnaryCall& call,
                                 const absl::Status& status,
                                 const google::protobuf::MessageLite& response) {
  if (status.ok()) {
    *call.response = EncodeMessage(response);
  } else {
    limiter.Refused(call.peer, RefusalWeight(*call.bytes));
  }
  grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

grpc::ServerUnaryReactor* AnswerQuery(CallLimiter& limiter, const UnaryCall& call,
                                      google::protobuf::Message& request,
                                      const google::protobuf::MessageLite& response,
                                      absl::FunctionRef<absl::Status()> fill) {
  absl::StatusOr<CallLimiter::Place> place = limiter.Admit(CallKind::kQuery, call.peer);
  if (!place.ok()) {
    grpc::ServerUnaryReactor* reactor = call.context->DefaultReactor();
    reactor->Finish(ToGrpc(place.status()));
    return reactor;
  }
  absl::Status status = DecodeRequest(limiter.limits(), Sender::kAny, *call.bytes, request);
  if (!status.ok()) return Answer(limiter, call, status, response);  // gives the place back
  auto* query = new QueryCall(*std::move(place));
  status = fill();
  if (status.ok()) *call.response = EncodeMessage(response);
  query->Finish(ToGrpc(status));
  return query;
}

}  // namespace percentdelta
