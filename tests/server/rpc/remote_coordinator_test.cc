// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/remote_coordinator.h"

#include <gmock/gmock.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

// Answers with the fields that the test sets.
class FakeCoordinator : public v1::Coordinator::Service {
 public:
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* /*request*/,
                         v1::HeartbeatResponse* response) override {
    if (is_ours) context->AddTrailingMetadata(kRefusedKey, "1");
    *response = answer;
    return status;
  }

  bool is_ours = false;
  grpc::Status status;
  v1::HeartbeatResponse answer;
};

class RemoteCoordinatorTest : public testing::Test {
 protected:
  RemoteCoordinatorTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&fake_);
    server_ = builder.BuildAndStart();
    remote_ = std::make_unique<RemoteCoordinator>(
        absl::StrCat("127.0.0.1:", port), 2, [this] { ++news_; }, MakeSilentLogger());
  }
  ~RemoteCoordinatorTest() override { server_->Shutdown(); }

  absl::Status Beat() { return remote_->Beat({1, 2, "hash", "host:1", 1}).status(); }

  FakeCoordinator fake_;
  std::unique_ptr<grpc::Server> server_;
  int news_ = 0;
  std::unique_ptr<RemoteCoordinator> remote_;
};

// A shard ends only if its own coordinator refuses it.
TEST_F(RemoteCoordinatorTest, OnlyTheCoordinatorRefuses) {
  for (const grpc::StatusCode code :
       {grpc::StatusCode::FAILED_PRECONDITION, grpc::StatusCode::ALREADY_EXISTS,
        grpc::StatusCode::INVALID_ARGUMENT}) {
    fake_.status = grpc::Status(code, "x");
    fake_.is_ours = true;
    EXPECT_THAT(Beat(), StatusIs(static_cast<absl::StatusCode>(code)));
    fake_.is_ours = false;
    EXPECT_THAT(Beat(), StatusIs(absl::StatusCode::kUnavailable)) << code;
  }
}

TEST_F(RemoteCoordinatorTest, RejectsMalformedAnswers) {
  fake_.answer.set_generation(3);
  EXPECT_THAT(Beat(), StatusIs(absl::StatusCode::kDataLoss));  // no addresses
  for (const char* address : {"", "unix:/tmp/socket", "host", "xds:///x:1", "fd:3", "host:1\nx"}) {
    fake_.answer.clear_shard_addresses();
    fake_.answer.add_shard_addresses("host:1");
    fake_.answer.add_shard_addresses(address);
    EXPECT_THAT(Beat(), StatusIs(absl::StatusCode::kDataLoss)) << address;
  }
  fake_.answer.set_shard_addresses(1, "host:2");
  EXPECT_OK(Beat());
}

TEST_F(RemoteCoordinatorTest, SendsNothingAfterCancelBeats) {
  remote_->CancelBeats();
  EXPECT_THAT(Beat(), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(RemoteCoordinatorTest, AsksForABeatWhenStepsAreGathered) {
  remote_->Gathered(1, 7);
  EXPECT_EQ(news_, 1);
}

}  // namespace
}  // namespace percentdelta
