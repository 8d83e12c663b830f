// SPDX-License-Identifier: Apache-2.0

// Conversion between Abseil's and gRPC's statuses. The codes are the same numbers.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_GRPC_STATUS_H_
#define PERCENTDELTA_COMMON_TRANSPORT_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include <cstddef>

#include "absl/status/status.h"

namespace percentdelta {

// Longer messages are cut: a message is sent as metadata, which is limited (kMaxMetadataBytes in
// common/transport/channel.h), and exceeding the limit would replace the status by another one.
inline constexpr size_t kMaxStatusMessage = 4096;

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_GRPC_STATUS_H_
