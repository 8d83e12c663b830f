// SPDX-License-Identifier: Apache-2.0

// Who may call what: every cell of the table of roles and RPCs over TLS, and what a role may do in
// its own name only.

#include <google/protobuf/descriptor.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/coordinator_stub.h"
#include "common/transport/channel.h"
#include "common/transport/chunk_codec.h"
#include "common/transport/deadline.h"
#include "common/transport/shared_memory.h"
#include "gmock/gmock.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "percentdelta/v1/parameter_server.grpc.pb.h"
#include "percentdelta/v1/statistics.pb.h"
#include "server/rpc/role_table.h"
#include "tests/local/expect_refused.h"
#include "tests/local/small_cluster.h"
#include "tests/local/tls_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The certificate that stands for a role in these tests.
std::string CertificateOf(Role role) {
  return role == Role::kServer ? "shard-1" : std::string(RoleName(role));
}

bool IsRefusal(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::PERMISSION_DENIED ||
         status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
}

class RolesTest : public TlsTest {};

TEST_F(RolesTest, EveryCellOfTheTableHolds) {
  const Server server = Start(ServerOptions());
  for (const Role role : kRoles) {
    const auto channel = MakeChannel(server.address(), Credentials(CertificateOf(role)));
    EXPECT_TRUE(Call(channel, "/grpc.health.v1.Health/Check").ok());  // connects
    for (const RpcRule& rule : RoleTable()) {
      const grpc::Status status = Call(channel, std::string(rule.path),
                                       absl::Milliseconds(rule.Allows(role) ? 200 : 10000));
      const bool is_refused = status.error_code() == grpc::StatusCode::PERMISSION_DENIED &&
                              status.error_message() == absl::StrCat("the role ", RoleName(role),
                                                                     " may not call ", rule.path);
      EXPECT_EQ(is_refused, !rule.Allows(role))
          << RoleName(role) << " " << rule.path << ": " << status.error_message();
    }
  }
}

// A new RPC must get a row, or no role can call it.
TEST_F(RolesTest, EveryRpcOfTheServicesIsInTheTable) {
  std::map<std::string, bool> found;
  for (const RpcRule& rule : RoleTable()) found[std::string(rule.path)] = false;
  for (const google::protobuf::FileDescriptor* file :
       {v1::GetJobRequest::descriptor()->file(), v1::PullRequest::descriptor()->file(),
        v1::StepStatistics::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      const google::protobuf::ServiceDescriptor& service = *file->service(s);
      for (int m = 0; m < service.method_count(); ++m) {
        const std::string path =
            absl::StrCat("/", service.full_name(), "/", service.method(m)->name());
        EXPECT_TRUE(found.contains(path)) << path;
        found[path] = true;
      }
    }
  }
  for (const auto& [path, is_there] : found) {
    EXPECT_TRUE(is_there || path.rfind("/grpc.", 0) == 0) << path << " is no RPC";
  }
}

TEST_F(RolesTest, AnRpcThatIsNotInTheTableIsRefusedForEverybody) {
  const Server server = Start(ServerOptions());
  for (const Role role : kRoles) {
    const auto channel = MakeChannel(server.address(), Credentials(CertificateOf(role)));
    EXPECT_REFUSED(Call(channel, "/percentdelta.v1.Coordinator/New"), PERMISSION_DENIED,
                   HasSubstr("may not call /percentdelta.v1.Coordinator/New"));
  }
}

TEST_F(RolesTest, ARefusalIsOneLineThatSaysWhoAndWhy) {
  const Server server = Start(ServerOptions());
  const auto channel = MakeChannel(server.address(), Credentials("viewer"));
  Call(channel, "/percentdelta.v1.Coordinator/TakeCheckpoint");
  EXPECT_THAT(log(), HasSubstr(absl::StrCat(
                         "refused code=PERMISSION_DENIED "
                         "rpc=/percentdelta.v1.Coordinator/TakeCheckpoint caller=\"",
                         UriOf("viewer", "viewer"), "\" reason=\"the role viewer may not call")));
}

TEST_F(RolesTest, AServerHeartbeatsOnlyAsItsOwnShard) {
  const Server server = Start(ServerOptions());
  const auto stub = v1::Coordinator::NewStub(MakeChannel(server.address(), Credentials("shard-1")));
  const auto beat = [&](int shard) {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(10));
    v1::HeartbeatRequest request;
    request.set_shard(shard);
    request.set_incarnation(77);
    v1::HeartbeatResponse response;
    return stub->Heartbeat(&context, request, &response);
  };
  EXPECT_REFUSED(beat(0), PERMISSION_DENIED, HasSubstr("is of shard-1, and not of shard-0"));
  EXPECT_THAT(log(), HasSubstr("refused code=PERMISSION_DENIED rpc=Heartbeat"));
  EXPECT_FALSE(IsRefusal(beat(1)));  // refused for other reasons: there is no shard 1
  const auto own = MakeChannel(server.address(), Credentials("shard-0"));
  EXPECT_REFUSED(Call(own, "/percentdelta.v1.Coordinator/Heartbeat"), PERMISSION_DENIED,
                 HasSubstr("shard 0 is in the coordinator's own process"));
}

// Two workers with certificates of their own; the second knows everything about the first.
TEST_F(RolesTest, ALeaseBelongsToTheWorkerThatGotIt) {
  const Server server = Start(ServerOptions());
  ca_.Issue(directory_.path(), "thief", {UriOf("worker", "thief"), {}});
  const auto owner =
      MakeCoordinatorStub(server.address(), absl::Seconds(10), Credentials("worker"));
  const auto thief = MakeCoordinatorStub(server.address(), absl::Seconds(10), Credentials("thief"));
  Lease lease;
  Await([&] {
    const absl::StatusOr<Lease> next = owner->AcquireLease({"w", "a"}, absl::Seconds(1));
    if (next.ok()) lease = *next;
    return lease.kind == Lease::Kind::kTrain;
  });
  LeaseResult result;
  result.generation = lease.generation;
  result.lease_id = lease.id;
  result.worker = "w";
  result.failure = "made up";
  const auto refused = StatusIs(absl::StatusCode::kPermissionDenied,
                                HasSubstr("expected the worker that it was given to"));
  EXPECT_THAT(thief->CompleteLease(result), refused);
  EXPECT_THAT(thief->RenewLease(lease, "w"), refused);
  EXPECT_THAT(owner->RenewLease(lease, "other"), refused);
  EXPECT_THAT(log(), AllOf(HasSubstr("rpc=CompleteLease"), HasSubstr("/worker/thief")));
  EXPECT_OK(owner->RenewLease(lease, "w"));
  result.leaving = true;
  EXPECT_OK(owner->CompleteLease(result));
}

TEST_F(RolesTest, OnlyAWorkerGetsSharedMemory) {
  const Server server = Start(ServerOptions());
  EXPECT_EQ(PullOfferingMemory(server, Credentials("worker")), 1);
  EXPECT_EQ(PullOfferingMemory(server, Credentials("operator")), 0);
}

// Neither for reading nor for writing: the calls that offer memory are refused before it is opened.
TEST_F(RolesTest, MemoryThatOthersOfferIsNotOpened) {
  const Server server = Start(ServerOptions());
  ASSERT_OK_AND_ASSIGN(const std::shared_ptr<SharedMemory> memory, SharedMemory::Make(1000));
  for (const char* name : {"operator", "viewer", "shard-1"}) {
    const auto stub =
        v1::ParameterServer::NewStub(MakeChannel(server.address(), Credentials(name)));
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(10));
    v1::PushResponse response;
    const auto stream = stub->Push(&context, &response);
    v1::PushRequest request;
    *request.mutable_header()->mutable_memory() = ToProto(memory->name());
    request.set_shared_values(1);
    stream->Write(request);
    EXPECT_REFUSED(stream->Finish(), PERMISSION_DENIED,
                   HasSubstr("may not call /percentdelta.v1.ParameterServer/Push"));
  }
  for (const char* name : {"viewer", "shard-1"}) {
    const auto stub =
        v1::ParameterServer::NewStub(MakeChannel(server.address(), Credentials(name)));
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(10));
    v1::PullRequest request;
    *request.mutable_memory() = ToProto(memory->name());
    const auto stream = stub->Pull(&context, request);
    v1::PullResponse response;
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_REFUSED(stream->Finish(), PERMISSION_DENIED,
                   HasSubstr("may not call /percentdelta.v1.ParameterServer/Pull"));
  }
}

// Refused calls of all roles while a training runs: the weights are those of an
// undisturbed one in plaintext.
TEST_F(RolesTest, RefusedCallsDoNotTouchATraining) {
  const std::string undisturbed = TrainAndChecksum(SmallOptions(SmallMnistJob(10)));
  LocalCluster::Options options = SmallOptions(SmallMnistJob(10));
  options.shards = 2;
  options.workers = 2;
  options.tls_directory = directory_.path();
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<LocalCluster> cluster,
                       LocalCluster::Start(std::move(options)));
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0};
  std::thread stranger([&] {
    std::map<Role, std::shared_ptr<grpc::Channel>> channels;
    for (const Role role : kRoles) {
      channels[role] = MakeChannel(cluster->coordinator(), Credentials(CertificateOf(role)));
    }
    while (!stop) {
      for (const auto& [role, channel] : channels) {
        for (const RpcRule& rule : RoleTable()) {
          if (rule.Allows(role)) continue;
          refused += IsRefusal(Call(channel, std::string(rule.path))) ? 1 : 0;
        }
      }
    }
  });
  EXPECT_OK(cluster->AwaitWorkers());
  stop = true;
  stranger.join();
  EXPECT_GT(refused, 0);
  const Cluster client({cluster->coordinator(), absl::Seconds(10), {}, Credentials("operator")});
  ASSERT_OK_AND_ASSIGN(const ClusterInfo info, client.GetJob());
  ASSERT_OK_AND_ASSIGN(const Weights weights, client.PullWeights(info, 10));
  EXPECT_EQ(ChecksumOf(weights), undisturbed);
}

}  // namespace
}  // namespace percentdelta
