// SPDX-License-Identifier: Apache-2.0

#include "tests/local/tls_cluster.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <spdlog/sinks/base_sink.h>

#include <mutex>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "client/pull.h"
#include "client/shard_channels.h"
#include "common/transport/deadline.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

// Collects lines, which may be read while others are written.
class Sink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::string text() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return text_;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t formatted;
    formatter_->format(message, formatted);
    text_.append(formatted.data(), formatted.size());
  }
  void flush_() override {}

 private:
  std::string text_;
};

}  // namespace

TlsTest::TlsTest() : log_(std::make_shared<spdlog::logger>("", std::make_shared<Sink>())) {
  ca_.WriteAll(directory_.path(), 2);
}

TlsTest::~TlsTest() = default;

std::string TlsTest::log() const { return static_cast<Sink&>(*log_.sink().sinks().front()).text(); }

Server::Options TlsTest::ServerOptions() const {
  Server::Options options;
  options.job = MadeUpJob(1000);
  options.threads = 1;
  options.heartbeat_interval = absl::Milliseconds(20);
  options.tls = files("shard-0");
  options.log = log_;
  return options;
}

Server TlsTest::Start(Server::Options options) const {
  absl::StatusOr<Server> server = Server::Start(std::move(options));
  EXPECT_OK(server);
  return *std::move(server);
}

std::shared_ptr<const ClientCredentials> TlsTest::Credentials(const std::string& name) const {
  const absl::StatusOr<std::shared_ptr<const ClientCredentials>> made =
      ClientCredentials::Make({files(name)});
  EXPECT_OK(made);
  return made.ok() ? *made : nullptr;
}

std::unique_ptr<Cluster> TlsTest::ClientOf(const Server& server, const std::string& name) const {
  return std::make_unique<Cluster>(
      Cluster::Options{server.address(), absl::Seconds(10), {}, Credentials(name)});
}

std::shared_ptr<grpc::Channel> TlsTest::OwnConnection(const Server& server,
                                                      const std::string& name) const {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ReadFile(path("ca.pem"));
  options.pem_cert_chain = ReadFile(path(name + ".pem"));
  options.pem_private_key = ReadFile(path(name + ".key"));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server.address(), grpc::SslCredentials(options), arguments);
}

int TlsTest::PullOfferingMemory(const Server& server,
                                const std::shared_ptr<const ClientCredentials>& credentials) {
  const Cluster client({server.address(), absl::Seconds(10), {}, credentials});
  absl::StatusOr<ClusterInfo> info;
  Await([&] {
    info = client.GetJob();
    return info.ok() && info->generation != 0;
  });
  const ShardChannels channels(info->job.model, info->generation, info->shard_addresses,
                               /*shares_memory=*/true, credentials);
  Await([&] {
    std::vector<std::vector<float>> values;
    return WeightPull(channels, 0, absl::Seconds(10), values).AwaitAll().ok();
  });
  return channels.memory().takers();
}

grpc::Status TlsTest::Call(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                           absl::Duration deadline) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  grpc::Slice nothing;
  grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  grpc::Status result;
  absl::Notification done;
  stub.UnaryCall(&context, path, {}, &request, &response, [&](grpc::Status status) {
    result = std::move(status);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

}  // namespace percentdelta
