// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/shard_caller.h"

#include <utility>

#include "common/base/clock.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/identity.h"

namespace percentdelta {
namespace {

// Short, so that the reason of a failure is reported soon. The channel keeps connecting meanwhile,
// for the next call.
constexpr absl::Duration kTimeout = absl::Seconds(3);
constexpr absl::Duration kPause = absl::Milliseconds(500);

absl::Duration Now() { return SteadyClock().Now(); }

}  // namespace

struct ShardCaller::Connection {
  Newcomer newcomer;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::ParameterServer::Stub> stub;
  v1::IdentifyRequest request;
  v1::IdentifyResponse response;

  // Guarded by mutex_.
  bool is_called = false;
  std::unique_ptr<grpc::ClientContext> context;  // of the call in flight, or of the last one
  absl::Duration next_call_at = -absl::InfiniteDuration();
};

ShardCaller::ShardCaller(std::string job_hash, Done done,
                         std::shared_ptr<const ClientCredentials> credentials)
    : job_hash_(std::move(job_hash)),
      done_(std::move(done)),
      credentials_(std::move(credentials)) {}

ShardCaller::~ShardCaller() { Close(); }

void ShardCaller::Call(const Newcomer& newcomer) {
  std::shared_ptr<Connection> connection;
  bool is_new = false;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    std::shared_ptr<Connection>& known = connections_[newcomer.shard];
    is_new = known == nullptr || known->newcomer != newcomer;
    if (is_new) {
      if (known != nullptr && known->is_called) known->context->TryCancel();
      known = std::make_shared<Connection>();
      known->newcomer = newcomer;
      known->channel = MakeChannel(newcomer.address, credentials_);
      known->stub = v1::ParameterServer::NewStub(known->channel);
    }
    connection = known;
    if (connection->is_called || Now() < connection->next_call_at) return;
    connection->is_called = true;
    connection->context = std::make_unique<grpc::ClientContext>();
    SetDeadline(*connection->context, kTimeout);
    ++in_flight_;
  }
  if (!is_new) ResetBackoff(*connection->channel);
  connection->stub->async()->Identify(
      connection->context.get(), &connection->request, &connection->response,
      [this, connection](const grpc::Status& status) { End(connection, FromGrpc(status)); });
}

void ShardCaller::End(const std::shared_ptr<Connection>& connection, const absl::Status& status) {
  const Newcomer& newcomer = connection->newcomer;
  const absl::Status identity =
      CheckIdentity({newcomer.shard, job_hash_, newcomer.incarnation}, newcomer.address,
                    "the coordinator", status, connection->response);
  bool closed = false;
  std::shared_ptr<Connection> finished;  // destroyed under no lock
  {
    absl::MutexLock lock(&mutex_);
    closed = closed_;
    connection->is_called = false;
    connection->next_call_at = Now() + kPause;
    const auto known = connections_.find(newcomer.shard);
    if (identity.ok() && known != connections_.end() && known->second == connection) {
      finished = std::move(known->second);
      connections_.erase(known);
    }
  }
  if (!closed) done_(newcomer, identity);
  absl::MutexLock lock(&mutex_);
  --in_flight_;
}

void ShardCaller::Close() {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return in_flight_ == 0; };
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (const auto& [shard, connection] : connections_) {
    if (connection->is_called) connection->context->TryCancel();
  }
  mutex_.Await(absl::Condition(&idle));
}

}  // namespace percentdelta
