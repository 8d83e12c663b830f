// Pulls and pushes by shared memory: the same values come, and what does not fit is refused or goes
// by the connection.

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

namespace percentdelta {
namespace {

using testing::HasSubstr;

using Answer = OfferedMemory::Answer;
using Values = std::vector<std::vector<float>>;

class SharedTransferTest : public testing::Test {
 protected:
  SharedTransferTest()
      : channels_(job_.model, servers_.cluster_job().generation,
                  servers_.cluster_job().shard_addresses, /*shares_memory=*/true),
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

  // The memory that the next call would use.
  SharedMemory* NextMemory() {
    std::shared_ptr<SharedMemory> memory = channels_.memory().Take();
    SharedMemory* const next = memory.get();
    channels_.memory().Return(std::move(memory));
    return next;
  }

  // What the gradients 0 and 1 lead to elsewhere, by the connection.
  Values OneStep() const {
    ServersOnly others(job_, 1);
    for (int32_t slot = 0; slot < 2; ++slot) {
      EXPECT_TRUE(others.Push(0, slot, RandomGradient(job_.model, slot)).ok());
    }
    return others.Pull(1).values;
  }

  // By a client with generated code: a push of a/biases to the shard that has it, which is the
  // second, under a header for these shared values.
  grpc::Status PushBiases(const SharedMemoryName* name, int64_t begin, int64_t count) {
    const auto stub = v1::ParameterServer::NewStub(MakeChannel(servers_.server(1).address()));
    grpc::ClientContext context;
    v1::PushResponse response;
    const auto stream = stub->Push(&context, &response);
    v1::PushRequest request;
    v1::PushHeader& header = *request.mutable_header();
    header.set_generation(servers_.cluster_job().generation);
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

TEST_F(SharedTransferTest, SameValuesAsByTheConnection) {
  EXPECT_EQ(channels_.memory().answer(0), Answer::kUnknown);
  Values shared;
  for (int64_t step = 0; step < 3; ++step) {
    ASSERT_TRUE(Pull(step, shared).ok());
    EXPECT_EQ(shared, servers_.Pull(step).values) << step;
    EXPECT_EQ(channels_.memory().takers(), 2);
    ASSERT_TRUE(Push(step, 0, RandomGradient(job_.model, 2 * step)).ok());
    ASSERT_TRUE(Push(step, 1, RandomGradient(job_.model, 2 * step + 1)).ok());
  }
  ASSERT_TRUE(Pull(3, shared).ok());
  ServersOnly others(job_, 1);
  for (int64_t step = 0; step < 3; ++step) {
    for (int32_t slot = 0; slot < 2; ++slot) {
      ASSERT_TRUE(others.Push(step, slot, RandomGradient(job_.model, 2 * step + slot)).ok());
    }
    others.Pull(step + 1);
  }
  EXPECT_EQ(shared, others.Pull(3).values);
}

TEST_F(SharedTransferTest, MemoryIsUsedAgainOnlyAfterCallsThatEndedWell) {
  Values values;
  ASSERT_TRUE(Pull(0, values).ok());
  SharedMemory* const first = NextMemory();
  ASSERT_NE(first, nullptr);
  ASSERT_TRUE(Pull(0, values).ok());
  EXPECT_EQ(NextMemory(), first);
  ASSERT_TRUE(Push(0, 0, RandomGradient(job_.model, 1)).ok());
  EXPECT_EQ(NextMemory(), first);

  const std::shared_ptr<SharedMemory> held = channels_.memory().Take();  // its address stays taken
  channels_.memory().Return(held);
  EXPECT_TRUE(absl::IsOutOfRange(Pull(-1, values)));
  SharedMemory* const second = NextMemory();
  ASSERT_NE(second, nullptr);
  EXPECT_NE(second, first);

  const std::shared_ptr<SharedMemory> next = channels_.memory().Take();
  channels_.memory().Return(next);
  Values bad = RandomGradient(job_.model, 1);
  bad[0][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(absl::IsInvalidArgument(Push(0, 1, bad)));
  ASSERT_NE(NextMemory(), nullptr);
  EXPECT_NE(NextMemory(), next.get());
  EXPECT_EQ(channels_.memory().takers(), 2);  // it was not for the memory
}

// The next push must not fail for the same reason, nor may a pull that is still under way take the
// refusal back.
TEST_F(SharedTransferTest, AfterAPushThatWasRefusedValuesGoByTheConnection) {
  Values values;
  ASSERT_TRUE(Pull(0, values).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Push(4, 0, RandomGradient(job_.model, 1))));
  for (int shard = 0; shard < 2; ++shard) channels_.memory().NoteTaken(shard);
  EXPECT_EQ(channels_.memory().takers(), 0);
  EXPECT_EQ(NextMemory(), nullptr);
  for (int32_t slot = 0; slot < 2; ++slot) {
    ASSERT_TRUE(Push(0, slot, RandomGradient(job_.model, slot)).ok());
  }
  ASSERT_TRUE(Pull(1, values).ok());
  EXPECT_EQ(values, OneStep());
}

TEST_F(SharedTransferTest, MemoryThatCannotBeMappedIsLeftAlone) {
  v1::PullRequest request;
  request.set_generation(servers_.cluster_job().generation);
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
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_REFUSED(PushBiases(nullptr, 0, 7), INVALID_ARGUMENT, HasSubstr("a/biases"),
                 HasSubstr("header with memory"), HasSubstr("got 7 shared ones"));
  for (const auto& [begin, count] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 8}, {7, 1}, {-1, 7}, {0, -7}, {most, 1}, {0, most}, {most, most}, {8, -1}}) {
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

  // None of it has left a trace.
  Values values;
  for (int32_t slot = 0; slot < 2; ++slot) {
    ASSERT_TRUE(Push(0, slot, RandomGradient(job_.model, slot)).ok());
  }
  ASSERT_TRUE(Pull(1, values).ok());
  EXPECT_EQ(values, OneStep());
}

}  // namespace
}  // namespace percentdelta
