// The one place where the library's statuses and gRPC's meet. The codes are the same numbers.

#ifndef PERCENTDELTA_COMMON_GRPC_STATUS_H_
#define PERCENTDELTA_COMMON_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace percentdelta {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_GRPC_STATUS_H_
