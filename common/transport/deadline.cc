// SPDX-License-Identifier: Apache-2.0

#include "common/transport/deadline.h"

#include "absl/time/clock.h"

namespace percentdelta {

void SetDeadline(grpc::ClientContext& context, absl::Duration timeout) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

}  // namespace percentdelta
