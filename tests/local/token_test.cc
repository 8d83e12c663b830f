// SPDX-License-Identifier: Apache-2.0

// Tokens between real servers and clients, over TLS and on loopback.

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/coordinator_stub.h"
#include "common/base/role.h"
#include "common/transport/channel.h"
#include "gmock/gmock.h"
#include "tests/local/expect_refused.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/local/tls_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kGetJob[] = "/percentdelta.v1.Coordinator/GetJob";

class TokenTest : public TlsTest {
 protected:
  TokenTest() {
    std::string table;
    for (const Role role : kRoles) {
      const std::string name(RoleName(role));
      const std::string token = *MakeToken();
      WriteFile(path(name + ".token"), token + "\n");
      absl::StrAppend(&table, name, " ", HashOfToken(token), "\n");
    }
    WriteFile(path("tokens"), table);
    WriteFile(path("wrong.token"), *MakeToken());
  }

  absl::Status TakeCheckpoint(const Server& server, const std::string& token, TlsFiles tls) const {
    const auto credentials = ClientCredentials::Make({std::move(tls), path(token)});
    EXPECT_OK(credentials);
    const auto stub = MakeCoordinatorStub(server.address(), absl::Seconds(10), *credentials);
    return stub->TakeCheckpoint().status();
  }

  void ExpectRoles(const Server& server, const TlsFiles& tls) const {
    EXPECT_THAT(TakeCheckpoint(server, "operator.token", tls),
                StatusIs(absl::StatusCode::kFailedPrecondition));  // the job has none
    EXPECT_THAT(
        TakeCheckpoint(server, "worker.token", tls),
        StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("the role worker may not")));
    EXPECT_THAT(TakeCheckpoint(server, "wrong.token", tls),
                StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("token is not one of")));
    EXPECT_THAT(log(), HasSubstr("caller=\"token sha256:"));
    for (const char* name : {"operator.token", "worker.token", "wrong.token"}) {
      EXPECT_THAT(log(), Not(HasSubstr(ReadFile(path(name)).substr(0, 20))));
    }
  }
};

TEST_F(TokenTest, GiveRolesOverTls) {
  Server::Options options = ServerOptions();
  options.token_file = path("tokens");
  const Server server = Start(std::move(options));
  ExpectRoles(server, {path("ca.pem")});
  grpc::SslCredentialsOptions no_certificate;
  no_certificate.pem_root_certs = ReadFile(path("ca.pem"));
  EXPECT_REFUSED(
      Call(grpc::CreateChannel(server.address(), grpc::SslCredentials(no_certificate)), kGetJob),
      UNAUTHENTICATED, HasSubstr("shows neither a certificate nor a token"));
  EXPECT_THAT(log(), HasSubstr("refused code=UNAUTHENTICATED rpc=/percentdelta.v1.Coordinator/"));
}

TEST_F(TokenTest, GiveRolesOnLoopback) {
  Server::Options options = ServerOptions();
  options.tls = {};
  options.token_file = path("tokens");
  options.own_token_file = path("server.token");
  const Server server = Start(std::move(options));
  ExpectRoles(server, {});
  EXPECT_REFUSED(Call(MakeChannel(server.address()), kGetJob), UNAUTHENTICATED,
                 HasSubstr("shows neither a certificate nor a token"));
  Await([&] {  // shard 0 has called itself back, with the server's token
    const auto credentials = ClientCredentials::Make({{}, path("viewer.token")});
    const Cluster client({server.address(), absl::Seconds(10), {}, *credentials});
    const absl::StatusOr<ClusterInfo> info = client.GetJob();
    return info.ok() && info->generation != 0;
  });
}

// An operator may pull, too.
TEST_F(TokenTest, OnlyAWorkersTokenGetsSharedMemory) {
  Server::Options options = ServerOptions();
  options.tls = {};
  options.token_file = path("tokens");
  options.own_token_file = path("server.token");
  const Server server = Start(std::move(options));
  const auto with = [&](const std::string& token) {
    const auto credentials = ClientCredentials::Make({{}, path(token)});
    EXPECT_OK(credentials);
    return *credentials;
  };
  EXPECT_EQ(PullOfferingMemory(server, with("worker.token")), 1);
  EXPECT_EQ(PullOfferingMemory(server, with("operator.token")), 0);
}

TEST_F(TokenTest, AFileThatIsNoTokenIsNotShown) {
  for (const char* text : {"", "short", "two words of some length", "line of one\nline of two"}) {
    WriteFile(path("bad.token"), text);
    EXPECT_THAT(ClientCredentials::Make({{}, path("bad.token")}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("token_file: "), HasSubstr("expected one token"),
                               Not(HasSubstr("words")))));
  }
}

}  // namespace
}  // namespace percentdelta
