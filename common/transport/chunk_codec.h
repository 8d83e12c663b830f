// SPDX-License-Identifier: Apache-2.0

// Tensor values on the wire without a copy into a protobuf string: chunks are the messages
// PullResponse and PushRequest of parameter_server.proto, encoded and decoded by hand around the
// one large field. A client with generated code sees no difference.

#ifndef PERCENTDELTA_COMMON_TRANSPORT_CHUNK_CODEC_H_
#define PERCENTDELTA_COMMON_TRANSPORT_CHUNK_CODEC_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/transport/shared_memory.h"
#include "percentdelta/v1/parameter_server.pb.h"

namespace percentdelta {

// The contents of a PullResponse or a PushRequest.
struct Chunk {
  std::string tensor;
  int64_t begin = 0;                      // entries
  std::vector<absl::string_view> pieces;  // the values' bytes, as slices of the message
  int64_t bytes = 0;                      // total size of the pieces
  int64_t shared_values = 0;              // instead: number of values in the call's shared memory
  std::optional<v1::PushHeader> header;   // of a PushRequest
};

// Encodes a chunk without copying the values: they must not change until gRPC has released them,
// which can be after the call's end. `owner` is held until then.
grpc::ByteBuffer EncodeChunk(absl::string_view tensor, int64_t begin,
                             absl::Span<const float> values, std::shared_ptr<const void> owner);

// Encodes a chunk whose values are in shared memory.
grpc::ByteBuffer EncodeSharedChunk(absl::string_view tensor, int64_t begin, int64_t values);

// Decodes any valid message: fields in any order, the last one counts, unknown ones are skipped.
// The pieces are valid as long as `message` lives and is unchanged. Returns false if `message` is
// malformed.
bool DecodeChunk(const grpc::ByteBuffer& message, Chunk& chunk);

// Names of shared memory as messages.
v1::SharedMemory ToProto(const SharedMemoryName& name);
SharedMemoryName FromProto(const v1::SharedMemory& name);

// Other messages. DecodeMessage returns false if `bytes` is malformed.
grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message);
bool DecodeMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_CHUNK_CODEC_H_
