// SPDX-License-Identifier: Apache-2.0

// Whether the process that answers at a shard's address is that shard.

#ifndef PERCENTDELTA_SERVER_RPC_IDENTITY_H_
#define PERCENTDELTA_SERVER_RPC_IDENTITY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "percentdelta/v1/parameter_server.pb.h"

namespace percentdelta {

// Identifies a server process.
struct ShardIdentity {
  int32_t shard = 0;
  std::string job_hash;
  uint64_t incarnation = 0;  // in an expected identity, 0 matches any
};

// Checks the outcome of ParameterServer.Identify at `address`: the call's `status` and `response`.
// `caller` names its client in messages, as in "the coordinator".
//   kFailedPrecondition  another shard, process or service answered
//   kUnavailable         no answer
// The message is one sentence that says which, and what to do about it.
absl::Status CheckIdentity(const ShardIdentity& expected, const std::string& address,
                           absl::string_view caller, const absl::Status& status,
                           const v1::IdentifyResponse& response);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_IDENTITY_H_
