#include "server/rpc/shard_caller.h"

#include <chrono>
#include <utility>

#include "common/base/clock.h"
#include "common/transport/channel.h"
#include "common/transport/grpc_status.h"
#include "server/rpc/identity.h"

namespace percentdelta {
namespace {

// So that a reason is shown soon. The channel goes on connecting meanwhile, for the next call.
constexpr auto kDeadline = std::chrono::seconds(3);
constexpr absl::Duration kPause = absl::Milliseconds(500);

absl::Duration Now() { return SteadyClock().Now(); }

}  // namespace

struct ShardCaller::Line {
  Newcomer newcomer;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::ParameterServer::Stub> stub;
  v1::IdentifyRequest request;
  v1::IdentifyResponse response;

  // Guarded by mutex_.
  bool is_called = false;
  std::unique_ptr<grpc::ClientContext> context;  // of the call under way, or the last one
  absl::Duration again_at = -absl::InfiniteDuration();
};

ShardCaller::ShardCaller(std::string job_hash, Done done)
    : job_hash_(std::move(job_hash)), done_(std::move(done)) {}

ShardCaller::~ShardCaller() { Close(); }

void ShardCaller::Call(const Newcomer& newcomer) {
  std::shared_ptr<Line> line;
  bool is_new = false;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    std::shared_ptr<Line>& known = lines_[newcomer.shard];
    is_new = known == nullptr || known->newcomer != newcomer;
    if (is_new) {
      if (known != nullptr && known->is_called) known->context->TryCancel();
      known = std::make_shared<Line>();
      known->newcomer = newcomer;
      known->channel = MakeChannel(newcomer.address);
      known->stub = v1::ParameterServer::NewStub(known->channel);
    }
    line = known;
    if (line->is_called || Now() < line->again_at) return;
    line->is_called = true;
    line->context = std::make_unique<grpc::ClientContext>();
    line->context->set_deadline(std::chrono::system_clock::now() + kDeadline);
    ++under_way_;
  }
  if (!is_new) ResetBackoff(*line->channel);
  line->stub->async()->Identify(
      line->context.get(), &line->request, &line->response,
      [this, line](const grpc::Status& status) { End(line, FromGrpc(status)); });
}

void ShardCaller::End(const std::shared_ptr<Line>& line, const absl::Status& status) {
  const Newcomer& newcomer = line->newcomer;
  const absl::Status identity =
      CheckIdentity({newcomer.shard, job_hash_, newcomer.incarnation}, newcomer.address,
                    "the coordinator", status, line->response);
  bool closed = false;
  std::shared_ptr<Line> finished;  // let go of under no lock
  {
    absl::MutexLock lock(&mutex_);
    closed = closed_;
    line->is_called = false;
    line->again_at = Now() + kPause;
    const auto known = lines_.find(newcomer.shard);
    if (identity.ok() && known != lines_.end() && known->second == line) {
      finished = std::move(known->second);
      lines_.erase(known);
    }
  }
  if (!closed) done_(newcomer, identity);
  absl::MutexLock lock(&mutex_);
  --under_way_;
}

void ShardCaller::Close() {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return under_way_ == 0; };
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (const auto& [shard, line] : lines_) {
    if (line->is_called) line->context->TryCancel();
  }
  mutex_.Await(absl::Condition(&idle));
}

}  // namespace percentdelta
