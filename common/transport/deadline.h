// SPDX-License-Identifier: Apache-2.0

// The deadline of a gRPC call.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_DEADLINE_H_
#define PERCENTDELTA_COMMON_TRANSPORT_DEADLINE_H_

#include <grpcpp/client_context.h>

#include "absl/time/time.h"

namespace percentdelta {

// Makes the call fail with DEADLINE_EXCEEDED unless it ends within `timeout` from now. Must be
// called before the call starts. An infinite `timeout` means no deadline.
void SetDeadline(grpc::ClientContext& context, absl::Duration timeout);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_DEADLINE_H_
