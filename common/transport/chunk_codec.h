// Tensor values on the wire without a detour through a protobuf string: chunks are the messages
// PullResponse and PushRequest of parameter_server.proto, written and read by hand around the one
// field that is large. A client with generated code sees no difference.

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

// What a PullResponse or a PushRequest holds.
struct Chunk {
  std::string tensor;
  int64_t begin = 0;                      // entries
  std::vector<absl::string_view> pieces;  // the values' bytes; they point into the message
  int64_t bytes = 0;                      // of all pieces
  int64_t shared_values = 0;              // or: so many are in the call's shared memory
  std::optional<v1::PushHeader> header;   // of a PushRequest
};

// The message of a chunk. The values are not copied: they must not change, and `owner` is held,
// until gRPC has let go of them, which can be after the call's end.
grpc::ByteBuffer EncodeChunk(absl::string_view tensor, int64_t begin,
                             absl::Span<const float> values, std::shared_ptr<const void> owner);

// The message of a chunk whose values are in shared memory.
grpc::ByteBuffer EncodeSharedChunk(absl::string_view tensor, int64_t begin, int64_t values);

// Reads any valid message: fields in any order, the last one counts, unknown ones are skipped. The
// pieces are valid as long as `message` lives and is unchanged. False: it is no such message.
bool DecodeChunk(const grpc::ByteBuffer& message, Chunk& chunk);

// How memory is named in messages.
v1::SharedMemory ToProto(const SharedMemoryName& name);
SharedMemoryName FromProto(const v1::SharedMemory& name);

// Small messages beside the chunks. False: the bytes are no such message.
grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message);
bool DecodeMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_TRANSPORT_CHUNK_CODEC_H_
