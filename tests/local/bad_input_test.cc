// SPDX-License-Identifier: Apache-2.0

// Bad input over the wire: each message is refused with one clear error and has no effect. A client
// of generated code sends what ours never would.

#include <grpcpp/grpcpp.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/float_bytes.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "percentdelta/v1/statistics.grpc.pb.h"
#include "tests/local/expect_refused.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kSeed = 5;

class BadInputTest : public testing::Test {
 protected:
  // a/weights is split over the two shards; a/biases, b/weights and b/scale are on the second.
  BadInputTest()
      : servers_(MadeUpJob(3), 2),
        stub_(v1::ParameterServer::NewStub(MakeChannel(servers_.server(0).address()))),
        before_(ChecksumOf(servers_.Pull(0))) {}

  // Checks that the test did not change the weights of step 0, and that a valid step gives the same
  // weights as on undisturbed servers.
  ~BadInputTest() override {
    EXPECT_EQ(ChecksumOf(servers_.Pull(0)), before_);
    ServersOnly undisturbed(MadeUpJob(3), 1);
    for (ServersOnly* servers : {&servers_, &undisturbed}) {
      for (int32_t slot = 0; slot < 2; ++slot) {
        EXPECT_OK(servers->Push(0, slot, RandomGradient(MadeUpJob(3).model, kSeed + slot)));
      }
    }
    EXPECT_EQ(ChecksumOf(servers_.Pull(1)), ChecksumOf(undisturbed.Pull(1)));
  }

  v1::PushRequest Header(int64_t step = 0, int32_t slot = 0) const {
    v1::PushRequest message;
    message.mutable_header()->set_generation(servers_.cluster_info().generation);
    message.mutable_header()->set_step(step);
    message.mutable_header()->set_slot(slot);
    return message;
  }

  static v1::PushRequest Chunk(const std::string& tensor, int64_t begin,
                               const std::vector<float>& values) {
    v1::PushRequest message;
    message.set_tensor(tensor);
    message.set_begin(begin);
    message.set_values(std::string(AsBytes(values)));
    return message;
  }

  grpc::Status Push(const std::vector<v1::PushRequest>& messages) {
    grpc::ClientContext context;
    v1::PushResponse response;
    const auto stream = stub_->Push(&context, &response);
    for (const v1::PushRequest& message : messages) {
      if (!stream->Write(message)) break;
    }
    stream->WritesDone();
    return stream->Finish();
  }

  grpc::Status Pull(uint64_t generation, int64_t step) {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(10));
    v1::PullRequest request;
    request.set_generation(generation);
    request.set_step(step);
    const auto stream = stub_->Pull(&context, request);
    v1::PullResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }

  ServersOnly servers_;
  std::unique_ptr<v1::ParameterServer::Stub> stub_;  // of shard 0
  const std::string before_;
};

TEST_F(BadInputTest, UnknownTensor) {
  EXPECT_REFUSED(Push({Header(), Chunk("a/nothing", 0, {1})}), NOT_FOUND, HasSubstr("a/nothing"),
                 HasSubstr("expected"), HasSubstr("got"));
}

TEST_F(BadInputTest, TensorOfAnotherShard) {
  EXPECT_REFUSED(Push({Header(), Chunk("b/weights", 0, {1})}), NOT_FOUND, HasSubstr("b/weights"),
                 HasSubstr("expected at shard 1"), HasSubstr("got at shard 0"));
}

TEST_F(BadInputTest, LengthThatIsNotAMultipleOfFour) {
  v1::PushRequest chunk = Chunk("a/weights", 0, {1, 2});
  chunk.mutable_values()->push_back('x');
  EXPECT_REFUSED(Push({Header(), chunk}), INVALID_ARGUMENT, HasSubstr("a/weights"),
                 HasSubstr("multiple of 4 bytes"), HasSubstr("got 9 bytes"));
}

TEST_F(BadInputTest, NoValues) {
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, {})}), INVALID_ARGUMENT,
                 HasSubstr("a/weights"), HasSubstr("got 0 bytes"));
}

TEST_F(BadInputTest, MoreThanTheSlice) {
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, std::vector<float>(50001))}),
                 INVALID_ARGUMENT, HasSubstr("a/weights"), HasSubstr("expected at most"),
                 HasSubstr("got 50001 values"));
}

TEST_F(BadInputTest, OverlappingRange) {
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, {1, 2, 3}), Chunk("a/weights", 2, {1})}),
                 INVALID_ARGUMENT, HasSubstr("a/weights"),
                 HasSubstr("expected the values from entry 3"),
                 HasSubstr("got entry 2, which overlaps"));
}

TEST_F(BadInputTest, Gap) {
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, {1, 2, 3}), Chunk("a/weights", 4, {1})}),
                 INVALID_ARGUMENT, HasSubstr("a/weights"),
                 HasSubstr("expected the values from entry 3"),
                 HasSubstr("got entry 4, which leaves a gap"));
}

TEST_F(BadInputTest, MissingRange) {
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, {1, 2, 3})}), INVALID_ARGUMENT,
                 HasSubstr("a/weights"), HasSubstr("expected the values of entries 0.."),
                 HasSubstr("got entries 0..2"));
  EXPECT_REFUSED(Push({Header()}), INVALID_ARGUMENT, HasSubstr("a/weights"), HasSubstr("got none"));
}

TEST_F(BadInputTest, NanAndInfinity) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, {1, std::nanf("")})}), INVALID_ARGUMENT,
                 HasSubstr("a/weights"), HasSubstr("expected finite values"),
                 HasSubstr("nan at entry 1"));
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, {infinity})}), INVALID_ARGUMENT,
                 HasSubstr("a/weights"), HasSubstr("got inf at entry 0"));
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, {0, 0, -infinity})}), INVALID_ARGUMENT,
                 HasSubstr("a/weights"), HasSubstr("got -inf at entry 2"));
}

TEST_F(BadInputTest, ChunkOverTheLimit) {
  EXPECT_REFUSED(Push({Header(), Chunk("a/weights", 0, std::vector<float>(kMaxChunkEntries + 1))}),
                 INVALID_ARGUMENT, HasSubstr("a/weights"), HasSubstr("expected a chunk of at most"),
                 HasSubstr(absl::StrCat("got ", kMaxChunkEntries + 1)));
  // The transport rejects a larger message before the handler sees it.
  EXPECT_EQ(Push({Header(), Chunk("a/weights", 0, std::vector<float>(4 << 20))}).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(BadInputTest, FutureStep) {
  EXPECT_REFUSED(Push({Header(1), Chunk("a/weights", 0, {1})}), FAILED_PRECONDITION,
                 HasSubstr("a/weights"), HasSubstr("expected step 0"), HasSubstr("got 1"));
  EXPECT_REFUSED(Push({Header(3), Chunk("a/weights", 0, {1})}), OUT_OF_RANGE,
                 HasSubstr("step: expected 0..2"), HasSubstr("got 3"));
  EXPECT_REFUSED(Push({Header(-1), Chunk("a/weights", 0, {1})}), OUT_OF_RANGE,
                 HasSubstr("step: expected 0..2"), HasSubstr("got -1"));
  EXPECT_REFUSED(Pull(servers_.cluster_info().generation, 4), OUT_OF_RANGE,
                 HasSubstr("expected 0..3"), HasSubstr("got 4"));
}

TEST_F(BadInputTest, WrongGeneration) {
  const uint64_t generation = servers_.cluster_info().generation;
  v1::PushRequest header = Header();
  header.mutable_header()->set_generation(generation - 1);
  EXPECT_REFUSED(Push({header}), FAILED_PRECONDITION,
                 HasSubstr(absl::StrCat("generation: expected ", generation)),
                 HasSubstr(absl::StrCat("got ", generation - 1)));
  EXPECT_REFUSED(Pull(generation - 1, 0), FAILED_PRECONDITION, HasSubstr("generation: expected"),
                 HasSubstr("got"));
  // A later generation: this shard may be late to enter it.
  EXPECT_REFUSED(Pull(generation + 1, 0), UNAVAILABLE, HasSubstr("yet to enter"));
}

TEST_F(BadInputTest, SlotOutOfRange) {
  EXPECT_REFUSED(Push({Header(0, 2)}), OUT_OF_RANGE, HasSubstr("slot: expected 0..1"),
                 HasSubstr("got 2"));
  EXPECT_REFUSED(Push({Header(0, -1)}), OUT_OF_RANGE, HasSubstr("slot: expected 0..1"),
                 HasSubstr("got -1"));
}

TEST_F(BadInputTest, NoHeader) {
  EXPECT_REFUSED(Push({Chunk("a/weights", 0, {1})}), INVALID_ARGUMENT,
                 HasSubstr("expected a header"));
  EXPECT_REFUSED(Push({}), INVALID_ARGUMENT, HasSubstr("empty stream"));
}

TEST_F(BadInputTest, StreamBrokenInTheMiddle) {
  for (int i = 0; i < 3; ++i) {
    grpc::ClientContext context;
    v1::PushResponse response;
    const auto stream = stub_->Push(&context, &response);
    ASSERT_TRUE(stream->Write(Header()));
    ASSERT_TRUE(stream->Write(Chunk("a/weights", 0, {1, 2, 3})));
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

// Field 1 of a push, the header, with a length beyond the end of the message.
TEST_F(BadInputTest, GarbageBytes) {
  const std::string garbage = "\x0a\xff\xff\xff\x07garbage";
  grpc::Slice slice(garbage);
  grpc::ByteBuffer buffer(&slice, 1);
  grpc::ClientContext context;
  const auto channel = MakeChannel(servers_.server(0).address());
  const grpc::internal::RpcMethod method("/percentdelta.v1.ParameterServer/Push",
                                         grpc::internal::RpcMethod::CLIENT_STREAMING);
  grpc::ByteBuffer answer;
  std::unique_ptr<grpc::ClientWriter<grpc::ByteBuffer>> writer(
      grpc::internal::ClientWriterFactory<grpc::ByteBuffer>::Create(channel.get(), method, &context,
                                                                    &answer));
  writer->Write(buffer);
  writer->WritesDone();
  EXPECT_REFUSED(writer->Finish(), INVALID_ARGUMENT, HasSubstr("push: expected a PushRequest"),
                 HasSubstr("got 12 bytes"));
}

TEST_F(BadInputTest, NormsThatAreNotOfASlice) {
  v1::ReduceNormsRequest request;
  request.set_generation(servers_.cluster_info().generation);
  request.set_tensor("a/weights");
  request.set_first_block(1);
  request.add_blocks();
  v1::ReduceNormsResponse response;
  const auto reduce = [&] {
    grpc::ClientContext context;
    return stub_->ReduceNorms(&context, request, &response);
  };
  EXPECT_REFUSED(reduce(), INVALID_ARGUMENT, HasSubstr("a/weights"),
                 HasSubstr("expected the block sums of a slice"), HasSubstr("got 1 blocks"));
  request.set_tensor("a/nothing");
  EXPECT_REFUSED(reduce(), NOT_FOUND, HasSubstr("a/nothing"));
  request.set_tensor("b/weights");
  EXPECT_REFUSED(reduce(), FAILED_PRECONDITION, HasSubstr("b/weights"), HasSubstr("its home"));
  // Only rules whose delta is not a multiple of the gradient use these.
  request.add_deltas(1);
  request.set_tensor("a/nothing");
  EXPECT_REFUSED(reduce(), NOT_FOUND, HasSubstr("a/nothing"));
  request.set_tensor("a/weights");
  EXPECT_REFUSED(reduce(), FAILED_PRECONDITION, HasSubstr("a/weights"),
                 HasSubstr("no sums of deltas"));
}

TEST_F(BadInputTest, LeasesThatWereNeverGranted) {
  const auto coordinator = v1::Coordinator::NewStub(MakeChannel(servers_.coordinator()));
  v1::CompleteLeaseRequest request;
  request.set_generation(servers_.cluster_info().generation);
  request.set_lease_id(17);
  v1::Lease response;
  const auto complete = [&] {
    grpc::ClientContext context;
    return coordinator->CompleteLease(&context, request, &response);
  };
  EXPECT_REFUSED(complete(), NOT_FOUND, HasSubstr("expected one of 1.."), HasSubstr("got"));
  request.set_lease_id(1);  // ids do not count from 1 on the wire
  EXPECT_REFUSED(complete(), NOT_FOUND, HasSubstr("never issued"));
  request.set_generation(request.generation() + 1);
  EXPECT_REFUSED(complete(), FAILED_PRECONDITION, HasSubstr("generation: expected"));
}

TEST_F(BadInputTest, StatisticsOfAnUnknownLayer) {
  const auto statistics = v1::Statistics::NewStub(MakeChannel(servers_.coordinator()));
  v1::GetUpdateStatisticsRequest request;
  v1::GetUpdateStatisticsResponse response;
  const auto get = [&] {
    grpc::ClientContext context;
    return statistics->GetUpdateStatistics(&context, request, &response);
  };
  request.set_layer("conv9");
  EXPECT_REFUSED(get(), NOT_FOUND, HasSubstr("expected one of a, b"), HasSubstr("got \"conv9\""));
  request.set_layer("");
  request.set_last(-1);
  EXPECT_REFUSED(get(), INVALID_ARGUMENT, HasSubstr("got last -1"));
}

// A gradient that has been staged or applied before is not an error: it is counted and dropped.
TEST(DuplicateTest, StaleAndRepeatedPushesChangeNothing) {
  const Job job = MadeUpJob(3);
  ServersOnly servers(job, 1);
  const auto stub = v1::ParameterServer::NewStub(MakeChannel(servers.coordinator()));
  const auto push = [&](int64_t step, int32_t slot, uint64_t seed) {
    grpc::ClientContext context;
    v1::PushResponse response;
    const auto stream = stub->Push(&context, &response);
    v1::PushRequest message;
    message.mutable_header()->set_generation(servers.cluster_info().generation);
    message.mutable_header()->set_step(step);
    message.mutable_header()->set_slot(slot);
    const std::vector<std::vector<float>> gradient = RandomGradient(job.model, seed);
    for (size_t t = 0; t < gradient.size(); ++t) {
      message.set_tensor(job.model.tensors[t].name);
      message.set_values(std::string(AsBytes(gradient[t])));
      stream->Write(message);
    }
    stream->WritesDone();
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  };
  EXPECT_EQ(push(0, 0, 1).staged_slices(), 4);
  const v1::PushResponse repeated = push(0, 0, 99);
  EXPECT_EQ(repeated.staged_slices(), 0);
  EXPECT_EQ(repeated.duplicate_slices(), 4);
  EXPECT_EQ(push(0, 1, 2).staged_slices(), 4);
  const std::string after = ChecksumOf(servers.Pull(1));
  EXPECT_EQ(push(0, 1, 98).duplicate_slices(), 4);  // stale
  EXPECT_EQ(ChecksumOf(servers.Pull(1)), after);

  ServersOnly undisturbed(job, 1);
  ASSERT_OK(undisturbed.Push(0, 0, RandomGradient(job.model, 1)));
  ASSERT_OK(undisturbed.Push(0, 1, RandomGradient(job.model, 2)));
  EXPECT_EQ(ChecksumOf(undisturbed.Pull(1)), after);

  // The weights of the previous step are retained; those of an earlier one are gone.
  ASSERT_OK(servers.Push(1, 0, RandomGradient(job.model, 3)));
  ASSERT_OK(servers.Push(1, 1, RandomGradient(job.model, 4)));
  EXPECT_EQ(servers.Pull(2).step, 2);
  EXPECT_EQ(ChecksumOf(servers.Pull(1)), after);
  std::vector<std::vector<float>> values;
  grpc::ClientContext context;
  v1::PullRequest request;
  request.set_generation(servers.cluster_info().generation);
  const auto stream = stub->Pull(&context, request);
  v1::PullResponse response;
  while (stream->Read(&response)) {
  }
  const grpc::Status gone = stream->Finish();
  EXPECT_EQ(gone.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(gone.error_message(), AllOf(HasSubstr("step 0 are gone"),
                                          HasSubstr("expected step 2"), HasSubstr("got 0")));
}

}  // namespace
}  // namespace percentdelta
