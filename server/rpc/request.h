// SPDX-License-Identifier: Apache-2.0

// Parses requests, which are measured before: gRPC has one limit for all messages of a server,
// which pushes need.

#ifndef PERCENTDELTA_SERVER_RPC_REQUEST_H_
#define PERCENTDELTA_SERVER_RPC_REQUEST_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "server/rpc/limits.h"

namespace percentdelta {

// Whose request it is. Only servers send long ones.
enum class Sender { kServer, kAny };

// Parses a request.
//   kResourceExhausted  it is longer than Limits::request_bytes (message_bytes, of a server)
//   kInvalidArgument    it is not a message of this type, or a name in it is too long (CheckNames)
absl::Status DecodeRequest(const Limits& limits, Sender sender, const grpc::ByteBuffer& bytes,
                           google::protobuf::Message& request);

// Checks the length of every string field, those of embedded messages included, against
// Limits::name_bytes; but not of texts for people ("failure", "problem", "error", "reason",
// "message"), which are cut where they are stored. Returns kInvalidArgument, naming the field.
absl::Status CheckNames(const Limits& limits, const google::protobuf::Message& request);

// What a refusal of this request costs, for CallLimiter::Refused: it has been received.
int RefusalWeight(const grpc::ByteBuffer& request);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_REQUEST_H_
