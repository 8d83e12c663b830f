// SPDX-License-Identifier: Apache-2.0

// A connection is closed when its calls are refused again and again, by role or for want of a
// token. Other connections stay open.

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/role.h"
#include "gmock/gmock.h"
#include "percentdelta/v1/statistics.grpc.pb.h"
#include "server/rpc/begun_calls.h"
#include "tests/local/expect_refused.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/local/tls_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::HasSubstr;

constexpr char kRefusedToViewers[] = "/percentdelta.v1.Coordinator/TakeCheckpoint";
constexpr char kLetIn[] = "/percentdelta.v1.Coordinator/GetJob";
constexpr char kClosed[] = "connection closed peer=";
constexpr int kRefusals = 100;

// A stream that lasts for as long as its connection.
class OpenStream {
 public:
  explicit OpenStream(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::Statistics::NewStub(channel)),
        stream_(stub_->WatchUpdateStatistics(&context_, {})) {}

  // Ends it. CANCELLED: it was open until now.
  grpc::Status End() {
    context_.TryCancel();
    v1::StepStatistics update;
    while (stream_->Read(&update)) {
    }
    return stream_->Finish();
  }

 private:
  const std::unique_ptr<v1::Statistics::Stub> stub_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReader<v1::StepStatistics>> stream_;
};

class RefusedCallsTest : public TlsTest {
 protected:
  Server::Options Options() const {
    Server::Options options = ServerOptions();
    options.limits.refusals = kRefusals;
    return options;
  }

  // Calls until the server has closed the connection.
  void CallUntilClosed(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                       grpc::StatusCode code) {
    Await([&] {
      const grpc::StatusCode got = Call(channel, path).error_code();
      EXPECT_TRUE(got == code || got == grpc::StatusCode::UNAVAILABLE) << got;
      return absl::StrContains(log(), kClosed);
    });
  }
};

TEST_F(RefusedCallsTest, EndTheConnectionAndNoOther) {
  const Server server = Start(Options());
  OpenStream idle(OwnConnection(server, "viewer"));
  const auto dashboard = OwnConnection(server, "viewer");  // asks for what it may not, now and then
  OpenStream of_dashboard(dashboard);
  const auto worker = OwnConnection(server, "worker");
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0};
  std::thread busy([&] {
    for (int i = 0; !stop; ++i) {
      if (!Call(worker, kLetIn).ok()) ++failed;
      if (i % 50 == 0) {
        EXPECT_REFUSED(Call(dashboard, kRefusedToViewers), PERMISSION_DENIED,
                       HasSubstr("the role viewer may not call"));
      }
      absl::SleepFor(absl::Milliseconds(4));
    }
  });
  CallUntilClosed(OwnConnection(server, "viewer"), kRefusedToViewers,
                  grpc::StatusCode::PERMISSION_DENIED);
  absl::SleepFor(absl::Seconds(1));  // for what else the server might do
  stop = true;
  busy.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(idle.End().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(of_dashboard.End().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_THAT(log(), HasSubstr("times within 10s"));
}

TEST_F(RefusedCallsTest, WithoutATokenEndTheConnectionToo) {
  const std::string token = *MakeToken();
  WriteFile(path("tokens"), absl::StrCat("server ", HashOfToken(token), "\n"));
  WriteFile(path("server.token"), token);
  Server::Options options = Options();
  options.tls = {};
  options.token_file = path("tokens");
  options.own_token_file = path("server.token");
  const Server server = Start(std::move(options));
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  for (const char* rpc : {"/grpc.health.v1.Health/Check", "/no.Service/Rpc"}) {
    const size_t before = log().size();
    const auto channel =
        grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), own);
    Await([&] {
      Call(channel, rpc);
      return absl::StrContains(log().substr(before), kClosed);
    });
  }
}

TEST_F(RefusedCallsTest, AreCountedByConnection) {
  const Server server = Start(Options());
  const auto first = OwnConnection(server, "viewer");
  for (int i = 0; i < 5; ++i) Call(first, kRefusedToViewers);
  const auto second = OwnConnection(server, "worker");
  for (int i = 0; i < 3; ++i) Call(second, kLetIn);
  std::multiset<int64_t> counts;
  for (const auto& [peer, calls] : CountBegunCalls(server.port())) {
    EXPECT_THAT(peer, testing::StartsWith("ipv4:127.0.0.1:"));
    counts.insert(calls);
  }
  EXPECT_TRUE(counts.contains(5) && counts.contains(3)) << testing::PrintToString(counts);
}

}  // namespace
}  // namespace percentdelta
