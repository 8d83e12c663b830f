// SPDX-License-Identifier: Apache-2.0

// Classifies the errors of calls: the only place that decides which are transient.
//
// Always transient are UNAVAILABLE (no server, or one that is starting or stopping),
// DEADLINE_EXCEEDED (slow, hung or unreachable) and CANCELLED (a server that shuts down may end a
// new call with it: grpc issue 41785).
//
// UNIMPLEMENTED, INTERNAL, DATA_LOSS, UNKNOWN, UNAUTHENTICATED and RESOURCE_EXHAUSTED come from
// another program that temporarily has a server's port, from a proxy in between, or from a
// connection that is cut within a message. They are transient for a server that has answered
// before; on first contact they mean a wrong address, which a person has to correct.
//
// FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE, ALREADY_EXISTS, ABORTED and
// PERMISSION_DENIED are the errors that our services return deliberately.

#ifndef PERCENTDELTA_COMMON_BASE_TRANSIENCE_H_
#define PERCENTDELTA_COMMON_BASE_TRANSIENCE_H_

#include "absl/status/status.h"

namespace percentdelta {

// Whether the same call may succeed later, whatever program it was sent to. False for kOk.
bool IsTransient(const absl::Status& status);

// Whether another program than our services may have answered (see above). False for kOk.
bool IsForeign(const absl::Status& status);

// Whether a shard retries a call to another shard or to the coordinator: on every error except
// those that they return deliberately for such a call. No other process would make the call
// instead, and the step would never end. False for kOk.
bool ShouldRetryPeerCall(const absl::Status& status);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_TRANSIENCE_H_
