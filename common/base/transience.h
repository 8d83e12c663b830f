// Which errors of calls pass by themselves: the one place that says so.
//
// The codes that mean it everywhere are UNAVAILABLE (nobody there, or a server that starts or
// stops), DEADLINE_EXCEEDED (slow, hung or cut off) and CANCELLED (a server that shuts down may end
// a call that has just come with it: grpc issue 41785).
//
// UNIMPLEMENTED, INTERNAL, DATA_LOSS, UNKNOWN, PERMISSION_DENIED, UNAUTHENTICATED and
// RESOURCE_EXHAUSTED are what something else answers that has a server's port for a while, a proxy
// on the way, or a connection that is cut within a message. Towards a server that is known to be
// ours they pass, too; at first contact they are a wrong address, which a person has to mend.
//
// FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE, ALREADY_EXISTS and ABORTED are
// what our services say on purpose.

#ifndef PERCENTDELTA_COMMON_BASE_TRANSIENCE_H_
#define PERCENTDELTA_COMMON_BASE_TRANSIENCE_H_

#include "absl/status/status.h"

namespace percentdelta {

// Whether the same call may succeed later, whatever it was sent to. False for kOk.
bool IsTransient(const absl::Status& status);

// Whether something else than our services may have answered: see above. False for kOk.
bool IsForeign(const absl::Status& status);

// Whether a shard repeats a call to another shard or to the coordinator: all but what these refuse
// on purpose, for nobody else would send it, and the step would never end. False for kOk.
bool ShouldRetryPeerCall(const absl::Status& status);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_TRANSIENCE_H_
