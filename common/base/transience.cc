// SPDX-License-Identifier: Apache-2.0

#include "common/base/transience.h"

namespace percentdelta {

bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status);
}

bool IsForeign(const absl::Status& status) {
  return absl::IsUnimplemented(status) || absl::IsInternal(status) || absl::IsDataLoss(status) ||
         absl::IsUnknown(status) || absl::IsUnauthenticated(status) ||
         absl::IsResourceExhausted(status);
}

bool ShouldRetryPeerCall(const absl::Status& status) {
  return !status.ok() && !absl::IsFailedPrecondition(status) && !absl::IsInvalidArgument(status) &&
         !absl::IsNotFound(status);
}

}  // namespace percentdelta
