// SPDX-License-Identifier: Apache-2.0

// Answers unary calls at once, and counts them. Requests and responses are bytes (request.h).

#ifndef PERCENTDELTA_SERVER_RPC_ANSWER_H_
#define PERCENTDELTA_SERVER_RPC_ANSWER_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/rpc/call_limiter.h"
#include "server/rpc/request.h"

namespace percentdelta {

// A unary call. `bytes` must stay until it is answered, `response` until it is done.
struct UnaryCall {
  grpc::CallbackServerContext* context = nullptr;
  CallPeer peer;
  const grpc::ByteBuffer* bytes = nullptr;  // the request
  grpc::ByteBuffer* response = nullptr;
};

// Answers with `response` if `status` is OK, otherwise with the error, which the limiter counts.
grpc::ServerUnaryReactor* Answer(CallLimiter& limiter, const UnaryCall& call,
                                 const absl::Status& status,
                                 const google::protobuf::MessageLite& response);

// Answers with what `handle` returns for the request, and with what it writes to the response,
// which is small.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* AnswerAtOnce(
    CallLimiter& limiter, const UnaryCall& call, Sender sender,
    absl::FunctionRef<absl::Status(const Request& request, Response& response)> handle) {
  Request request;
  Response response;
  absl::Status status = DecodeRequest(limiter.limits(), sender, *call.bytes, request);
  if (status.ok()) status = handle(request, response);
  return Answer(limiter, call, status, response);
}

// Answers a query, whose response may be large, with what `fill` returns, unless the limiter has no
// place for it. The place is taken until the client has read the response. Arguments as above.
grpc::ServerUnaryReactor* AnswerQuery(CallLimiter& limiter, const UnaryCall& call,
                                      google::protobuf::Message& request,
                                      const google::protobuf::MessageLite& response,
                                      absl::FunctionRef<absl::Status()> fill);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_ANSWER_H_
