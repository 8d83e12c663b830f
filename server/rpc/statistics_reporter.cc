// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/statistics_reporter.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "common/base/transience.h"
#include "common/cluster/histogram_proto.h"
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
constexpr size_t kMaxPendingHistograms = 512;
constexpr size_t kHistogramBytes = size_t{1} << 20;  // of a request, about

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
    if (!Takes(generation) || pending_.size() >= kMaxPendingReports) return;
    pending_.push_back(statistics);
    if (!StartCall()) return;
  }
  SendPending();
}

void StatisticsReporter::Report(uint64_t generation, SliceHistograms histograms) {
  {
    absl::MutexLock lock(&mutex_);
    if (!Takes(generation) || pending_histograms_.size() >= kMaxPendingHistograms) return;
    pending_histograms_.push_back(std::move(histograms));
    if (!StartCall()) return;
  }
  SendPending();
}

bool StatisticsReporter::Takes(uint64_t generation) {
  if (closed_ || generation < generation_) return false;
  if (generation > generation_) {
    generation_ = generation;
    pending_.clear();
    pending_histograms_.clear();
    if (call_ != nullptr) call_->context.TryCancel();
  }
  return true;
}

// False: there is a call, whose end sends what is pending.
bool StatisticsReporter::StartCall() {
  if (call_ != nullptr) return false;
  call_ = std::make_shared<Call>();  // until SendPending() has filled one in
  return true;
}

void StatisticsReporter::SendPending() {
  auto call = std::make_shared<Call>();
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || (pending_.empty() && pending_histograms_.empty())) {
      call_ = nullptr;
      return;
    }
    Fill(call->request);
    call_ = call;
  }
  SetDeadline(call->context, kTimeout);
  stub_->async()->ReportStatistics(
      &call->context, &call->request, &call->response,
      [this, call](const grpc::Status& status) { End(*call, FromGrpc(status)); });
}

// Histograms first: those of a step are there when its statistics are.
void StatisticsReporter::Fill(v1::ReportStatisticsRequest& request) {
  request.set_generation(generation_);
  size_t bytes = 0;
  for (const SliceHistograms& histograms : pending_histograms_) {
    if (bytes > kHistogramBytes) return;
    ToProto(histograms, *request.add_histograms());
    bytes += request.histograms().rbegin()->ByteSizeLong();
  }
  const size_t count = std::min(kMaxReportsPerRequest, pending_.size());
  for (size_t i = 0; i < count; ++i) ToProto(pending_[i], *request.add_updates());
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
      const auto erase = [ended](auto& pending, int sent) {
        const auto first = pending.begin();
        pending.erase(first, ended ? pending.end() : first + sent);
      };
      erase(pending_, call.request.updates_size());
      erase(pending_histograms_, call.request.histograms_size());
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
