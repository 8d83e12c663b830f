// SPDX-License-Identifier: Apache-2.0

// TLS between real servers and clients: a training over it, and everything that can be wrong, each
// with a message that says what it is.

#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/coordinator_stub.h"
#include "common/base/library_errors.h"
#include "common/transport/connection_diagnosis.h"
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

class TlsConnectionTest : public TlsTest {
 protected:
  // What a client's user reads when a call fails.
  static absl::Status Explained(const std::string& address, ClientSecurity security) {
    const auto credentials = ClientCredentials::Make(std::move(security));
    EXPECT_OK(credentials);
    const auto stub = MakeCoordinatorStub(address, absl::Seconds(10), *credentials);
    return stub->GetJob().status();
  }
};

TEST_F(TlsConnectionTest, ATrainingOverTlsHasTheSameWeights) {
  const std::string plaintext = TrainAndChecksum(SmallOptions(SmallMnistJob(6)));
  LocalCluster::Options options = SmallOptions(SmallMnistJob(6));
  options.shards = 2;
  options.workers = 2;
  options.tls_directory = directory_.path();
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<LocalCluster> cluster,
                       LocalCluster::Start(std::move(options)));
  EXPECT_OK(cluster->AwaitWorkers());
  const Cluster client({cluster->coordinator(), absl::Seconds(10), {}, Credentials("operator")});
  ASSERT_OK_AND_ASSIGN(const ClusterInfo info, client.GetJob());
  ASSERT_OK_AND_ASSIGN(const Weights weights, client.PullWeights(info, 6));
  EXPECT_EQ(ChecksumOf(weights), plaintext);
}

TEST_F(TlsConnectionTest, WithoutACertificateNoConnectionIsMade) {
  const Server server = Start(ServerOptions());
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ReadFile(path("ca.pem"));
  const auto channel = grpc::CreateChannel(server.address(), grpc::SslCredentials(options));
  EXPECT_EQ(Call(channel, kGetJob).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(DiagnoseConnection(server.address(), {{path("ca.pem")}}),
              HasSubstr("asks for a certificate; give tls_cert and tls_key"));
}

TEST_F(TlsConnectionTest, AServerOfAnotherCaIsNotTrusted) {
  const Server server = Start(ServerOptions());
  const TemporaryDirectory elsewhere;
  const TestCa other;
  other.WriteAll(elsewhere.path(), 0);
  EXPECT_THAT(Explained(server.address(), {TlsFilesIn(elsewhere.path(), "worker")}),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("the certificate of the server at"),
                             HasSubstr("is not signed by"), HasSubstr("ca.pem"))));
}

// The client's own check of its files would refuse these: a diagnosis does not make it.
TEST_F(TlsConnectionTest, AClientWithABadCertificateIsToldWhy) {
  const Server server = Start(ServerOptions());
  const TestCa other;
  other.Issue(directory_.path(), "foreign", {UriOf("worker", "w"), {}});
  ca_.Issue(directory_.path(), "old",
            {UriOf("worker", "w"), {}, absl::Now() - absl::Hours(2), absl::Now() - absl::Hours(1)});
  EXPECT_THAT(DiagnoseConnection(server.address(), {files("foreign")}),
              AllOf(HasSubstr("refuses our certificate"), HasSubstr("foreign.pem"),
                    HasSubstr("ca.pem has signed")));
  EXPECT_THAT(DiagnoseConnection(server.address(), {files("old")}),
              AllOf(HasSubstr("refuses our certificate"), HasSubstr("old.pem"),
                    HasSubstr("the certificate expired at")));
  const TemporaryDirectory both;  // signed by the other CA, which the client trusts besides
  other.Issue(both.path(), "w", {UriOf("worker", "w"), {}});
  other.WriteCa(both.path());
  WriteFile(both.path() + "/ca.pem", ReadFile(both.path() + "/ca.pem") + ReadFile(path("ca.pem")));
  EXPECT_THAT(DiagnoseConnection(server.address(), {TlsFilesIn(both.path(), "w")}),
              HasSubstr("so that the server has another CA"));
  EXPECT_EQ(DiagnoseConnection(server.address(), {files("worker")}), "");
  for (const char* name : {"foreign", "old"}) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ReadFile(path("ca.pem"));
    options.pem_cert_chain = ReadFile(path(std::string(name) + ".pem"));
    options.pem_private_key = ReadFile(path(std::string(name) + ".key"));
    const auto channel = grpc::CreateChannel(server.address(), grpc::SslCredentials(options));
    EXPECT_EQ(Call(channel, kGetJob).error_code(), grpc::StatusCode::UNAVAILABLE) << name;
  }
}

// gRPC tells a server nothing of them: see handshake_watch.h.
TEST_F(TlsConnectionTest, ARefusedHandshakeIsOneLogLine) {
  gpr_set_log_function([](gpr_log_func_args* arguments) {
    if (arguments->severity == GPR_LOG_SEVERITY_ERROR) PassOnLibraryError(arguments->message);
  });
  const Server server = Start(ServerOptions());
  const TestCa other;
  other.Issue(directory_.path(), "foreign", {UriOf("worker", "w"), {}});
  ca_.Issue(directory_.path(), "old",
            {UriOf("worker", "w"), {}, absl::Now() - absl::Hours(2), absl::Now() - absl::Hours(1)});
  const struct {
    std::string certificate;  // empty: none; "plaintext"
    std::string reason;
  } rows[] = {{"", "peer did not return a certificate"},
              {"foreign", "certificate verify failed"},
              {"old", "certificate verify failed"},
              {"plaintext", "wrong version number"}};
  for (const auto& row : rows) {
    const size_t before = log().size();
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    if (row.certificate != "plaintext") {
      grpc::SslCredentialsOptions options;
      options.pem_root_certs = ReadFile(path("ca.pem"));
      if (!row.certificate.empty()) {
        options.pem_cert_chain = ReadFile(path(row.certificate + ".pem"));
        options.pem_private_key = ReadFile(path(row.certificate + ".key"));
      }
      credentials = grpc::SslCredentials(options);
    }
    const auto channel = grpc::CreateChannel(server.address(), credentials);
    EXPECT_FALSE(Call(channel, kGetJob).ok()) << row.certificate;
    Await([&] { return absl::StrContains(log().substr(before), row.reason); });
    EXPECT_THAT(log().substr(before), HasSubstr("refused code=UNAUTHENTICATED rpc=handshake "
                                                "caller=\"ipv4:127.0.0.1:"));
  }
  gpr_set_log_function(nullptr);
  EXPECT_THAT(log(), Not(HasSubstr("caller=\"unknown\"")));
}

TEST_F(TlsConnectionTest, AServerOfAnotherNameIsNotTrusted) {
  ca_.Issue(directory_.path(), "shard-0", {UriOf("server", "shard-0"), {"DNS:other.test"}});
  const Server server = Start(ServerOptions());
  EXPECT_THAT(Explained(server.address(), {files("worker")}),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("the server's certificate is for other.test, not for 127.0.0.1")));
}

TEST_F(TlsConnectionTest, AWorkersCertificateIsNoServers) {
  ca_.Issue(directory_.path(), "disguise", {UriOf("worker", "disguise")});
  EXPECT_THAT(CheckServerCertificate(ReadFile(path("disguise.pem")), "127.0.0.1:5000"),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("expected one of the role server, got one of the role worker")));
  EXPECT_OK(CheckServerCertificate(ReadFile(path("shard-0.pem")), "127.0.0.1:5000"));
  for (const char* name : {"disguise", "shard-1"}) {
    Server::Options options = ServerOptions();
    options.tls = files(name);
    EXPECT_THAT(Server::Start(std::move(options)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("tls_cert: "), HasSubstr("server/shard-0, got "))));
  }
}

TEST_F(TlsConnectionTest, AWorkersCertificateIsNoOperators) {
  const Server server = Start(ServerOptions());
  EXPECT_THAT(ClientOf(server, "worker")->TakeCheckpoint(),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("the role worker may not")));
}

TEST_F(TlsConnectionTest, PlaintextToTlsAndTlsToPlaintextAreNamed) {
  const Server with_tls = Start(ServerOptions());
  EXPECT_THAT(Explained(with_tls.address(), {}),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("expects TLS, and this is a plaintext client")));
  Server::Options options = ServerOptions();
  options.tls = {};
  const Server without = Start(std::move(options));
  EXPECT_THAT(Explained(without.address(), {files("worker")}),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("speaks plaintext, and this is a client with TLS")));
}

// Returns whether a handshake with this newest version of TLS succeeds.
bool ShakesHands(const std::string& address, const TlsFiles& files, int version) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  &SSL_CTX_free);
  SSL_CTX_set_security_level(context.get(), 0);  // OpenSSL's own level refuses TLS 1.1, too
  SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), version);
  SSL_CTX_use_certificate_chain_file(context.get(), files.cert.c_str());
  SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM);
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_ssl_connect(context.get()),
                                                          &BIO_free_all);
  BIO_set_conn_hostname(bio.get(), address.c_str());
  return BIO_do_connect(bio.get()) == 1 && BIO_do_handshake(bio.get()) == 1;
}

TEST_F(TlsConnectionTest, VersionsBefore12AreRefused) {
  const Server server = Start(ServerOptions());
  EXPECT_TRUE(ShakesHands(server.address(), files("worker"), TLS1_3_VERSION));
  EXPECT_TRUE(ShakesHands(server.address(), files("worker"), TLS1_2_VERSION));
  EXPECT_FALSE(ShakesHands(server.address(), files("worker"), TLS1_1_VERSION));
  EXPECT_FALSE(ShakesHands(server.address(), files("worker"), TLS1_VERSION));
}

// ---- replaced and expired while the servers run ----

TEST_F(TlsConnectionTest, AReplacedCertificateIsUsedWithoutARestart) {
  const Server server = Start(ServerOptions());
  const TlsFiles worker = files("worker");
  ASSERT_OK(Explained(server.address(), {worker}));
  ca_.Issue(directory_.path(), "shard-0", {UriOf("server", "shard-0"), {"DNS:other.test"}});
  Await([&] {
    return absl::StrContains(DiagnoseConnection(server.address(), {worker}), "is for other.test");
  });
  ca_.Issue(directory_.path(), "shard-0",
            {UriOf("server", "shard-0"),
             {"IP:127.0.0.1"},
             absl::Now() - absl::Hours(2),
             absl::Now() - absl::Hours(1)});
  Await([&] {
    return absl::StrContains(DiagnoseConnection(server.address(), {worker}), "expired at");
  });
  EXPECT_THAT(Explained(server.address(), {worker}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("expired at")));
  ca_.Issue(directory_.path(), "shard-0", {UriOf("server", "shard-0")});
  Await([&] { return Explained(server.address(), {worker}).ok(); });
}

class TlsTrainingTest : public TlsTest {
 protected:
  // A training that does not end, of two shards and a worker.
  std::unique_ptr<LocalCluster> StartTraining() {
    LocalCluster::Options options = SmallOptions(SmallMnistJob(1'000'000));
    options.shards = 2;
    options.tls_directory = directory_.path();
    absl::StatusOr<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(std::move(options));
    EXPECT_OK(cluster);
    client_ = std::make_unique<Cluster>(Cluster::Options{
        (*cluster)->coordinator(), absl::Seconds(10), {}, Credentials("operator")});
    return *std::move(cluster);
  }

  Progress GetProgress() const {
    const absl::StatusOr<Progress> progress = client_->GetProgress();
    EXPECT_OK(progress);
    return progress.ok() ? *progress : Progress();
  }

  // Waits until the training has made some more steps.
  void AwaitSteps() const {
    const int64_t step = GetProgress().step;
    Await([&] { return GetProgress().step > step + 2; });
  }

  std::unique_ptr<Cluster> client_;
};

TEST_F(TlsTrainingTest, GoesOnWhileAllCertificatesAreReplaced) {
  const std::unique_ptr<LocalCluster> cluster = StartTraining();
  AwaitSteps();
  ca_.WriteAll(directory_.path(), 2);
  AwaitSteps();
  cluster->AddWorker();  // with new connections
  Await([&] { return GetProgress().workers == 2; });
  AwaitSteps();
}

TEST_F(TlsTrainingTest, GoesOnAfterACertificateHasExpired) {
  const absl::Time expiry = absl::Now() + absl::Seconds(4);
  ca_.Issue(directory_.path(), "worker",
            {UriOf("worker", "worker"), {}, expiry - absl::Hours(1), expiry});
  const std::unique_ptr<LocalCluster> cluster = StartTraining();
  AwaitSteps();
  Await([&] { return absl::Now() > expiry + absl::Seconds(1); });  // X.509 counts whole seconds
  AwaitSteps();                                                    // on connections from before
  EXPECT_THAT(ClientCredentials::Make({files("worker")}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("the certificate expired")));
  EXPECT_THAT(DiagnoseConnection(cluster->coordinator(), {files("worker")}),
              AllOf(HasSubstr("refuses our certificate"), HasSubstr("the certificate expired at")));
  cluster->AddWorker();
  AwaitSteps();
  EXPECT_EQ(GetProgress().workers, 1);
  ca_.Issue(directory_.path(), "worker", {UriOf("worker", "worker"), {}});
  Await([&] { return GetProgress().workers == 2; });
}

}  // namespace
}  // namespace percentdelta
