// Whether the process that answers at a shard's address is that shard.

#ifndef PERCENTDELTA_SERVER_RPC_IDENTITY_H_
#define PERCENTDELTA_SERVER_RPC_IDENTITY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "percentdelta/v1/parameter_server.pb.h"

namespace percentdelta {

// Of a server's process.
struct ShardIdentity {
  int32_t shard = 0;
  std::string job_hash;
  uint64_t incarnation = 0;  // 0, of one that is expected: any
};

// What came of ParameterServer.Identify at `address`, called by `caller`, as in "the coordinator".
//   kFailedPrecondition  another shard, process or service has answered
//   kUnavailable         none has
// The message is a sentence that says which, and what to do about it.
absl::Status CheckIdentity(const ShardIdentity& expected, const std::string& address,
                           absl::string_view caller, const absl::Status& status,
                           const v1::IdentifyResponse& response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_IDENTITY_H_
