// SPDX-License-Identifier: Apache-2.0

// Answers unary calls at once, and counts them.

#ifndef PERCENTDELTA_SERVER_RPC_ANSWER_H_
#define PERCENTDELTA_SERVER_RPC_ANSWER_H_

#include <grpcpp/support/server_callback.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/rpc/call_limiter.h"

namespace percentdelta {

// Answers a call whose response is small and filled in. The limiter counts a refusal.
grpc::ServerUnaryReactor* Answer(CallLimiter& limiter, grpc::CallbackServerContext* context,
                                 const absl::Status& status);

// Answers a query, whose response may be large, with what `fill` returns, unless the limiter has no
// place for it. The place is taken until the client has read the response.
grpc::ServerUnaryReactor* AnswerQuery(CallLimiter& limiter, grpc::CallbackServerContext* context,
                                      absl::FunctionRef<absl::Status()> fill);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_ANSWER_H_
