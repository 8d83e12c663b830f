// SPDX-License-Identifier: Apache-2.0

// Pulls and pushes through shared memory transfer the same values as the connection. What is
// invalid is refused, or falls back to the connection.

#include <grpcpp/grpcpp.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "client/pull.h"
#include "client/push.h"
#include "common/transport/channel.h"
#include "common/transport/chunk_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "tests/local/expect_refused.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::HasSubstr;

using Answer = OfferedMemory::Answer;
using Values = std::vector<std::vector<float>>;

class SharedTransferTest : public testing::Test {
 protected:
  SharedTransferTest()
      : channels_(job_.model, servers_.cluster_info().generation,
                  servers_.cluster_info().shard_addresses, /*shares_memory=*/true),
        stub_(v1::ParameterServer::NewStub(MakeChannel(servers_.server(0).address()))) {}

  absl::Status Pull(int64_t step, Values& values) {
    return WeightPull(channels_, step, absl::Seconds(10), values).AwaitAll();
  }

  absl::Status Push(int64_t step, int32_t slot, const Values& gradient) {
    GradientPush push(channels_, {step, slot}, absl::Seconds(10),
                      std::make_shared<const Values>(gradient));
    for (size_t t = 0; t < gradient.size(); ++t) push.Ready(static_cast<int>(t));
    return push.Finish();
  }

  // Returns the memory that the next call would use.
  SharedMemory* NextMemory() {
    std::shared_ptr<SharedMemory> memory = channels_.memory().Take();
    SharedMemory* const next = memory.get();
    channels_.memory().Return(std::move(memory));
    return next;
  }

  // Returns the weights after gradients 0 and 1, on other servers without shared memory.
  Values OneStep() const {
    ServersOnly others(job_, 1);
    for (int32_t slot = 0; slot < 2; ++slot) {
      EXPECT_OK(others.Push(0, slot, RandomGradient(job_.model, slot)));
    }
    return others.Pull(1).values;
  }

  // Pushes a/biases to its shard, the second, with generated code: as shared values in the memory
  // of that name.
  grpc::Status PushBiases(const SharedMemoryName* name, int64_t begin, int64_t count) {
    const auto stub = v1::ParameterServer::NewStub(MakeChannel(servers_.server(1).address()));
    grpc::ClientContext context;
    v1::PushResponse response;
    const auto stream = stub->Push(&context, &response);
    v1::PushRequest request;
    v1::PushHeader& header = *request.mutable_header();
    header.set_generation(servers_.cluster_info().generation);
    if (name != nullptr) *header.mutable_memory() = ToProto(*name);
    request.set_tensor("a/biases");
    request.set_begin(begin);
    request.set_shared_values(count);
    stream->Write(request);
    stream->WritesDone();
    return stream->Finish();
  }

  const Job job_ = MadeUpJob(5);
  ServersOnly servers_{job_, 2};
  const ShardChannels channels_;
  const std::unique_ptr<v1::ParameterServer::Stub> stub_;  // of shard 0
};

TEST_F(SharedTransferTest, SameValuesAsOverTheConnection) {
  EXPECT_EQ(channels_.memory().answer(0), Answer::kUnknown);
  Values shared;
  for (int64_t step = 0; step < 3; ++step) {
    ASSERT_OK(Pull(step, shared));
    EXPECT_EQ(shared, servers_.Pull(step).values) << step;
    EXPECT_EQ(channels_.memory().takers(), 2);
    ASSERT_OK(Push(step, 0, RandomGradient(job_.model, 2 * step)));
    ASSERT_OK(Push(step, 1, RandomGradient(job_.model, 2 * step + 1)));
  }
  ASSERT_OK(Pull(3, shared));
  ServersOnly others(job_, 1);
  for (int64_t step = 0; step < 3; ++step) {
    for (int32_t slot = 0; slot < 2; ++slot) {
      ASSERT_OK(others.Push(step, slot, RandomGradient(job_.model, 2 * step + slot)));
    }
    others.Pull(step + 1);
  }
  EXPECT_EQ(shared, others.Pull(3).values);
}

TEST_F(SharedTransferTest, MemoryIsReusedOnlyAfterCallsThatSucceeded) {
  Values values;
  ASSERT_OK(Pull(0, values));
  SharedMemory* const first = NextMemory();
  ASSERT_NE(first, nullptr);
  ASSERT_OK(Pull(0, values));
  EXPECT_EQ(NextMemory(), first);
  ASSERT_OK(Push(0, 0, RandomGradient(job_.model, 1)));
  EXPECT_EQ(NextMemory(), first);

  const std::shared_ptr<SharedMemory> held =
      channels_.memory().Take();  // so that its address is not reused
  channels_.memory().Return(held);
  EXPECT_THAT(Pull(-1, values), StatusIs(absl::StatusCode::kOutOfRange));
  SharedMemory* const second = NextMemory();
  ASSERT_NE(second, nullptr);
  EXPECT_NE(second, first);

  const std::shared_ptr<SharedMemory> next = channels_.memory().Take();
  channels_.memory().Return(next);
  Values bad = RandomGradient(job_.model, 1);
  bad[0][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Push(0, 1, bad), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_NE(NextMemory(), nullptr);
  EXPECT_NE(NextMemory(), next.get());
  EXPECT_EQ(channels_.memory().takers(), 2);  // the memory was not the reason
}

// The next push must not fail for the same reason, and a pull that is still in progress must not
// revoke the refusal.
TEST_F(SharedTransferTest, AfterARefusedPushValuesGoOverTheConnection) {
  Values values;
  ASSERT_OK(Pull(0, values));
  EXPECT_THAT(Push(4, 0, RandomGradient(job_.model, 1)),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  for (int shard = 0; shard < 2; ++shard) channels_.memory().NoteAccepted(shard);
  EXPECT_EQ(channels_.memory().takers(), 0);
  EXPECT_EQ(NextMemory(), nullptr);
  for (int32_t slot = 0; slot < 2; ++slot) {
    ASSERT_OK(Push(0, slot, RandomGradient(job_.model, slot)));
  }
  ASSERT_OK(Pull(1, values));
  EXPECT_EQ(values, OneStep());
}

TEST_F(SharedTransferTest, MemoryThatCannotBeMappedIsIgnored) {
  v1::PullRequest request;
  request.set_generation(servers_.cluster_info().generation);
  *request.mutable_memory() = ToProto({1, 0, std::string(16, 'k')});
  grpc::ClientContext context;
  const auto stream = stub_->Pull(&context, request);
  v1::PullResponse response;
  int64_t values = 0;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.shared_values(), 0);
    values += static_cast<int64_t>(response.values().size() / sizeof(float));
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(values, channels_.partition().load(0));
}

TEST_F(SharedTransferTest, BadPushesAreRefused) {
  const std::shared_ptr<SharedMemory> memory = *SharedMemory::Make(job_.model.size());
  const SharedMemoryName& name = memory->name();
  const int64_t max = std::numeric_limits<int64_t>::max();
  EXPECT_REFUSED(PushBiases(nullptr, 0, 7), INVALID_ARGUMENT, HasSubstr("a/biases"),
                 HasSubstr("header with memory"), HasSubstr("got 7 shared ones"));
  for (const auto& [begin, count] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 8}, {7, 1}, {-1, 7}, {0, -7}, {max, 1}, {0, max}, {max, max}, {8, -1}}) {
    EXPECT_REFUSED(PushBiases(&name, begin, count), INVALID_ARGUMENT, HasSubstr("a/biases"),
                   HasSubstr("expected values within its 7 entries"), HasSubstr("got"));
  }
  EXPECT_REFUSED(PushBiases(&name, 1, 6), INVALID_ARGUMENT, HasSubstr("which leaves a gap"));
  memory->values()[job_.model.SizeBefore(1) + 3] = std::numeric_limits<float>::infinity();
  EXPECT_REFUSED(PushBiases(&name, 0, 7), INVALID_ARGUMENT, HasSubstr("a/biases"),
                 HasSubstr("expected finite values, got inf at entry 3"));
  SharedMemoryName wrong = name;
  wrong.key[5] = static_cast<char>(wrong.key[5] ^ 1);
  EXPECT_REFUSED(PushBiases(&wrong, 0, 7), FAILED_PRECONDITION, HasSubstr("another key"),
                 HasSubstr("send the values themselves"));
  const std::shared_ptr<SharedMemory> small = *SharedMemory::Make(job_.model.size() - 1);
  EXPECT_REFUSED(PushBiases(&small->name(), 0, 7), FAILED_PRECONDITION, HasSubstr("bytes, got"));

  // None of these had an effect.
  Values values;
  for (int32_t slot = 0; slot < 2; ++slot) {
    ASSERT_OK(Push(0, slot, RandomGradient(job_.model, slot)));
  }
  ASSERT_OK(Pull(1, values));
  EXPECT_EQ(values, OneStep());
}

}  // namespace
}  // namespace percentdelta
