// SPDX-License-Identifier: Apache-2.0

#include "common/transport/chunk_codec.h"

#include <gmock/gmock.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/base/float_bytes.h"

namespace percentdelta {
namespace {

using ::testing::IsEmpty;

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

// Two slices, cut at `cut`.
grpc::ByteBuffer BufferOf(const std::string& bytes, size_t cut) {
  const grpc::Slice slices[] = {grpc::Slice(bytes.substr(0, cut)), grpc::Slice(bytes.substr(cut))};
  return grpc::ByteBuffer(slices, 2);
}

std::string ValuesOf(const Chunk& chunk) { return absl::StrJoin(chunk.pieces, ""); }

v1::PushRequest SomeRequest() {
  v1::PushRequest request;
  request.set_tensor("conv1/weights");
  request.set_begin(70000);
  request.set_values(std::string(AsBytes(std::vector<float>{1, -2, 3})));
  request.mutable_header()->set_generation(1795459657660);
  request.mutable_header()->set_step(7);
  request.mutable_header()->set_slot(3);
  return request;
}

void ExpectSome(const Chunk& chunk) {
  EXPECT_EQ(chunk.tensor, "conv1/weights");
  EXPECT_EQ(chunk.begin, 70000);
  EXPECT_EQ(ValuesOf(chunk), SomeRequest().values());
  EXPECT_EQ(chunk.bytes, 12);
  ASSERT_TRUE(chunk.header.has_value());
  EXPECT_EQ(chunk.header->SerializeAsString(), SomeRequest().header().SerializeAsString());
}

TEST(ChunkCodecTest, WritesWhatProtobufReads) {
  const auto values = std::make_shared<const std::vector<float>>(std::vector<float>{1, 2.5F, -3});
  for (const int64_t begin : {int64_t{0}, int64_t{1}, int64_t{1} << 40}) {
    const std::string bytes = BytesOf(EncodeChunk("fc1/weights", begin, *values, values));
    v1::PullResponse response;
    ASSERT_TRUE(response.ParseFromString(bytes));
    EXPECT_EQ(response.tensor(), "fc1/weights");
    EXPECT_EQ(response.begin(), begin);
    EXPECT_EQ(response.values(), AsBytes(*values));
    v1::PushRequest request;
    ASSERT_TRUE(request.ParseFromString(bytes));
    EXPECT_EQ(request.tensor(), "fc1/weights");
    EXPECT_EQ(request.begin(), begin);
    EXPECT_EQ(request.values(), AsBytes(*values));
    EXPECT_FALSE(request.has_header());
  }
}

TEST(ChunkCodecTest, SharedValuesAreOnlyCounted) {
  const grpc::ByteBuffer buffer = EncodeSharedChunk("fc1/weights", int64_t{1} << 40, 12345);
  v1::PullResponse response;
  ASSERT_TRUE(response.ParseFromString(BytesOf(buffer)));
  EXPECT_EQ(response.tensor(), "fc1/weights");
  EXPECT_EQ(response.begin(), int64_t{1} << 40);
  EXPECT_EQ(response.shared_values(), 12345);
  Chunk chunk;
  ASSERT_TRUE(DecodeChunk(buffer, chunk));
  EXPECT_EQ(chunk.tensor, "fc1/weights");
  EXPECT_EQ(chunk.begin, int64_t{1} << 40);
  EXPECT_EQ(chunk.shared_values, 12345);
  EXPECT_THAT(chunk.pieces, IsEmpty());

  const SharedMemoryName name = {123, 7, "sixteen bytes ..."};
  EXPECT_EQ(FromProto(ToProto(name)), name);
}

TEST(ChunkCodecTest, HoldsTheOwnerAsLongAsTheBytes) {
  auto values = std::make_shared<const std::vector<float>>(100, 2.0F);
  const std::weak_ptr<const std::vector<float>> watch = values;
  {
    grpc::ByteBuffer buffer = EncodeChunk("t", 0, *values, values);
    values.reset();
    EXPECT_FALSE(watch.expired());
    EXPECT_EQ(BytesOf(buffer).size(), 400 + BytesOf(EncodeChunk("t", 0, {}, nullptr)).size() + 1);
  }
  EXPECT_TRUE(watch.expired());
}

TEST(ChunkCodecTest, ReadsWhatProtobufWritesHoweverItIsCut) {
  const std::string bytes = SomeRequest().SerializeAsString();
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const grpc::ByteBuffer buffer = BufferOf(bytes, cut);
    Chunk chunk;
    ASSERT_TRUE(DecodeChunk(buffer, chunk)) << cut;
    ExpectSome(chunk);
  }
}

TEST(ChunkCodecTest, ReadsAnyOrderAndSkipsUnknownFields) {
  v1::PushRequest first;
  first.set_values("overridden by what follows");
  first.set_tensor("another");
  v1::PushRequest header;
  *header.mutable_header() = SomeRequest().header();
  v1::PushRequest rest = SomeRequest();
  rest.clear_header();
  // Field 100: a varint; field 101: bytes.
  const std::string unknown("\xa0\x06\x05\xaa\x06\x03xyz", 9);
  const std::string bytes = first.SerializeAsString() + header.SerializeAsString() + unknown +
                            rest.SerializeAsString() + unknown;
  const grpc::ByteBuffer buffer = BufferOf(bytes, 20);
  Chunk chunk;
  ASSERT_TRUE(DecodeChunk(buffer, chunk));
  ExpectSome(chunk);
}

TEST(ChunkCodecTest, ReadsAnEmptyMessage) {
  Chunk chunk;
  const grpc::ByteBuffer some = BufferOf(SomeRequest().SerializeAsString(), 5);
  ASSERT_TRUE(DecodeChunk(some, chunk));
  const grpc::ByteBuffer nothing = BufferOf("", 0);
  ASSERT_TRUE(DecodeChunk(nothing, chunk));
  EXPECT_EQ(chunk.tensor, "");
  EXPECT_EQ(chunk.begin, 0);
  EXPECT_THAT(chunk.pieces, IsEmpty());
  EXPECT_EQ(chunk.bytes, 0);
  EXPECT_EQ(chunk.shared_values, 0);
  EXPECT_FALSE(chunk.header.has_value());
}

TEST(ChunkCodecTest, RejectsWhatProtobufRejects) {
  const std::string whole = SomeRequest().SerializeAsString();
  std::vector<std::string> cases;
  for (size_t size = 0; size < whole.size(); ++size) cases.push_back(whole.substr(0, size));
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      cases.push_back(whole);
      cases.back()[at] = static_cast<char>(cases.back()[at] ^ (1 << bit));
    }
  }
  cases.emplace_back("\x1a\xff\xff\xff\xff\x0fshort");  // more than 2 GiB of values
  cases.emplace_back("\x0a\xff\xff\xff\x07garbage");
  for (const std::string& bytes : cases) {
    const grpc::ByteBuffer buffer = BufferOf(bytes, bytes.size() / 2);
    Chunk chunk;
    v1::PushRequest request;
    const bool expected = request.ParseFromString(bytes);
    const bool got = DecodeChunk(buffer, chunk);
    // The only exception: invalid UTF-8 in the name, which the model's lookup rejects.
    if (got && !expected && chunk.tensor != "conv1/weights") continue;
    ASSERT_EQ(got, expected) << testing::PrintToString(bytes);
    if (!got) continue;
    EXPECT_EQ(chunk.tensor, request.tensor());
    EXPECT_EQ(chunk.begin, request.begin());
    EXPECT_EQ(chunk.shared_values, request.shared_values());
    EXPECT_EQ(ValuesOf(chunk), request.values());
    EXPECT_EQ(chunk.header.has_value(), request.has_header());
  }
}

TEST(ChunkCodecTest, OtherMessagesRoundTrip) {
  const v1::PushRequest request = SomeRequest();
  v1::PushRequest read;
  ASSERT_TRUE(DecodeMessage(EncodeMessage(request), read));
  EXPECT_EQ(read.SerializeAsString(), request.SerializeAsString());
  EXPECT_FALSE(DecodeMessage(BufferOf("\x0a\x50", 1), read));
  EXPECT_TRUE(DecodeMessage(EncodeMessage(v1::PullRequest()), read));
}

}  // namespace
}  // namespace percentdelta
