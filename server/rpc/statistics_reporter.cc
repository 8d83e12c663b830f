// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/statistics_reporter.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "common/base/transience.h"
#include "common/cluster/statistics_proto.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
constexpr absl::Duration kTimeout = absl::Seconds(30);

constexpr size_t kMaxReportsPerRequest = 256;
constexpr size_t kMaxPendingReports = 65536;  // while the coordinator is away

}  // namespace

struct StatisticsReporter::Call {
  v1::ReportStatisticsRequest request;
  v1::ReportStatisticsResponse response;
  grpc::ClientContext context;
};

StatisticsReporter::StatisticsReporter(std::shared_ptr<grpc::Channel> channel, Logger log)
    : log_(std::move(log)),
      channel_(std::move(channel)),
      stub_(v1::Coordinator::NewStub(channel_)) {
  ticker_.emplace(kRetryDelay, [this] { Retry(); });
}

StatisticsReporter::~StatisticsReporter() { Close(); }

void StatisticsReporter::Close() {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return call_ == nullptr; };
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    if (call_ != nullptr) call_->context.TryCancel();
    if (std::exchange(retry_, false)) call_ = nullptr;
    mutex_.Await(absl::Condition(&idle));
  }
  ticker_.reset();
}

void StatisticsReporter::Report(uint64_t generation, const TensorStatistics& statistics) {
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || generation < generation_) return;
    if (generation > generation_) {
      generation_ = generation;
      pending_.clear();
      if (call_ != nullptr) call_->context.TryCancel();
    }
    if (pending_.size() >= kMaxPendingReports) return;
    pending_.push_back(statistics);
    if (call_ != nullptr) return;      // its end sends this one
    call_ = std::make_shared<Call>();  // until SendPending() has filled one in
  }
  SendPending();
}

void StatisticsReporter::SendPending() {
  auto call = std::make_shared<Call>();
  {
    absl::MutexLock lock(&mutex_);
    const size_t count = std::min(kMaxReportsPerRequest, pending_.size());
    if (closed_ || count == 0) {
      call_ = nullptr;
      return;
    }
    call->request.set_generation(generation_);
    for (size_t i = 0; i < count; ++i) ToProto(pending_[i], *call->request.add_updates());
    call_ = call;
  }
  SetDeadline(call->context, kTimeout);
  stub_->async()->ReportStatistics(
      &call->context, &call->request, &call->response,
      [this, call](const grpc::Status& status) { End(*call, FromGrpc(status)); });
}

void StatisticsReporter::End(const Call& call, const absl::Status& status) {
  // Another server has been restarted: this shard's next heartbeat brings the new generation.
  const bool ended = absl::IsFailedPrecondition(status);
  if (ended) {
    log_->info("statistics are of an ended generation error=\"{}\"", status.message());
  } else if (!status.ok() && !ShouldRetryPeerCall(status)) {
    log_->warn("statistics refused error=\"{}\"", status.message());
  }
  {
    absl::MutexLock lock(&mutex_);
    if (call.request.generation() != generation_) {
      // Superseded: `pending_` holds nothing of this request.
    } else if (ShouldRetryPeerCall(status)) {
      if (closed_) {
        call_ = nullptr;
      } else {
        retry_ = true;
      }
      return;
    } else {
      const auto first = pending_.begin();
      pending_.erase(first, ended ? pending_.end() : first + call.request.updates_size());
    }
  }
  SendPending();
}

void StatisticsReporter::Retry() {
  {
    absl::MutexLock lock(&mutex_);
    if (!std::exchange(retry_, false)) return;
  }
  ResetBackoff(*channel_);
  SendPending();
}

}  // namespace percentdelta
