// SPDX-License-Identifier: Apache-2.0

#include "common/transport/chunk_codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <utility>

#include "common/base/float_bytes.h"

namespace percentdelta {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

// The fields have the same numbers in both messages.
constexpr uint32_t kTensor = WireFormatLite::MakeTag(v1::PullResponse::kTensorFieldNumber,
                                                     WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kBegin =
    WireFormatLite::MakeTag(v1::PullResponse::kBeginFieldNumber, WireFormatLite::WIRETYPE_VARINT);
constexpr uint32_t kValues = WireFormatLite::MakeTag(v1::PullResponse::kValuesFieldNumber,
                                                     WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kHeader = WireFormatLite::MakeTag(v1::PushRequest::kHeaderFieldNumber,
                                                     WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
constexpr uint32_t kShared = WireFormatLite::MakeTag(v1::PullResponse::kSharedValuesFieldNumber,
                                                     WireFormatLite::WIRETYPE_VARINT);
static_assert(static_cast<int>(v1::PullResponse::kTensorFieldNumber) ==
                  static_cast<int>(v1::PushRequest::kTensorFieldNumber) &&
              static_cast<int>(v1::PullResponse::kBeginFieldNumber) ==
                  static_cast<int>(v1::PushRequest::kBeginFieldNumber) &&
              static_cast<int>(v1::PullResponse::kValuesFieldNumber) ==
                  static_cast<int>(v1::PushRequest::kValuesFieldNumber) &&
              static_cast<int>(v1::PullResponse::kSharedValuesFieldNumber) ==
                  static_cast<int>(v1::PushRequest::kSharedValuesFieldNumber));

constexpr size_t kMaxVarint = 10;  // bytes

// ProtoBufferReader takes a mutable buffer but does not modify it. Do not copy: short slices are
// inlined, and our pieces would point into the copy.
grpc::ByteBuffer* Readable(const grpc::ByteBuffer& buffer) {
  return const_cast<grpc::ByteBuffer*>(&buffer);
}

bool ReadNumber(CodedInputStream& input, int64_t& number) {
  uint64_t bits = 0;
  if (!input.ReadVarint64(&bits)) return false;
  number = static_cast<int64_t>(bits);
  return true;
}

bool ReadPieces(CodedInputStream& input, Chunk& chunk) {
  uint32_t left = 0;
  if (!input.ReadVarint32(&left)) return false;
  chunk.pieces.clear();
  chunk.bytes = left;
  while (left > 0) {
    const void* data = nullptr;
    int size = 0;
    if (!input.GetDirectBufferPointer(&data, &size)) return false;
    const uint32_t count = std::min(left, static_cast<uint32_t>(size));
    chunk.pieces.emplace_back(static_cast<const char*>(data), count);
    if (!input.Skip(static_cast<int>(count))) return false;
    left -= count;
  }
  return true;
}

bool ReadHeader(CodedInputStream& input, Chunk& chunk) {
  uint32_t size = 0;
  if (!input.ReadVarint32(&size)) return false;
  if (!chunk.header) chunk.header.emplace();
  const CodedInputStream::Limit limit = input.PushLimit(static_cast<int>(size));
  if (!chunk.header->MergePartialFromCodedStream(&input) || !input.ConsumedEntireMessage() ||
      input.BytesUntilLimit() != 0) {
    return false;
  }
  input.PopLimit(limit);
  return true;
}

bool ReadField(CodedInputStream& input, uint32_t tag, Chunk& chunk) {
  switch (tag) {
    case kTensor: {
      uint32_t size = 0;
      return input.ReadVarint32(&size) && input.ReadString(&chunk.tensor, static_cast<int>(size));
    }
    case kBegin:
      return ReadNumber(input, chunk.begin);
    case kShared:
      return ReadNumber(input, chunk.shared_values);
    case kValues:
      return ReadPieces(input, chunk);
    case kHeader:
      return ReadHeader(input, chunk);
    default:
      return WireFormatLite::SkipField(&input, tag);
  }
}

}  // namespace

grpc::ByteBuffer EncodeChunk(absl::string_view tensor, int64_t begin,
                             absl::Span<const float> values, std::shared_ptr<const void> owner) {
  const absl::string_view bytes = AsBytes(values);
  grpc::Slice fields(tensor.size() + 3 + 3 * kMaxVarint);
  uint8_t* const start = const_cast<uint8_t*>(fields.begin());
  uint8_t* end = CodedOutputStream::WriteTagToArray(kTensor, start);
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(tensor.size()), end);
  end = CodedOutputStream::WriteRawToArray(tensor.data(), static_cast<int>(tensor.size()), end);
  end = CodedOutputStream::WriteTagToArray(kBegin, end);
  end = CodedOutputStream::WriteVarint64ToArray(static_cast<uint64_t>(begin), end);
  end = CodedOutputStream::WriteTagToArray(kValues, end);
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(bytes.size()), end);
  using Owner = std::shared_ptr<const void>;
  const grpc::Slice slices[] = {
      fields.sub(0, end - start),
      grpc::Slice(
          const_cast<char*>(bytes.data()), bytes.size(),
          [](void* held) { delete static_cast<Owner*>(held); }, new Owner(std::move(owner)))};
  return grpc::ByteBuffer(slices, 2);
}

grpc::ByteBuffer EncodeSharedChunk(absl::string_view tensor, int64_t begin, int64_t values) {
  v1::PullResponse message;
  message.set_tensor(std::string(tensor));
  message.set_begin(begin);
  message.set_shared_values(values);
  return EncodeMessage(message);
}

v1::SharedMemory ToProto(const SharedMemoryName& name) {
  v1::SharedMemory memory;
  memory.set_process(name.process);
  memory.set_file_descriptor(name.descriptor);
  memory.set_key(name.key);
  return memory;
}

SharedMemoryName FromProto(const v1::SharedMemory& name) {
  return {name.process(), name.file_descriptor(), name.key()};
}

bool DecodeChunk(const grpc::ByteBuffer& message, Chunk& chunk) {
  chunk.tensor.clear();
  chunk.begin = 0;
  chunk.pieces.clear();
  chunk.bytes = 0;
  chunk.shared_values = 0;
  chunk.header.reset();
  grpc::ProtoBufferReader reader(Readable(message));
  if (!reader.status().ok()) return false;
  CodedInputStream input(&reader);
  while (const uint32_t tag = input.ReadTag()) {
    if (!ReadField(input, tag, chunk)) return false;
  }
  return input.ConsumedEntireMessage();
}

grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

bool DecodeMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message) {
  grpc::ProtoBufferReader reader(Readable(bytes));
  return reader.status().ok() && message.ParseFromZeroCopyStream(&reader);
}

}  // namespace percentdelta
