// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/remote_peers.h"

#include <gmock/gmock.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Another service answers at shard 0's address.
TEST(RemotePeersTest, ReportsShardsThatAreNotAtTheirAddress) {
  v1::Coordinator::Service other_service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&other_service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  const auto peers = std::make_shared<RemotePeers>(
      1, std::vector<std::string>{absl::StrCat("127.0.0.1:", port)}, SmallJob().model,
      ShardIdentity{1, "hash", 1}, MakeSilentLogger());
  EXPECT_EQ(peers->connection_error(), "");
  peers->IdentifyAll();
  while (peers->connection_error().empty()) std::this_thread::yield();
  EXPECT_THAT(peers->connection_error(),
              AllOf(HasSubstr("shard 0 advertises"), HasSubstr("UNIMPLEMENTED")));
  peers->Close();
  server->Shutdown();
}

}  // namespace
}  // namespace percentdelta
