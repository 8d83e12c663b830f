// SPDX-License-Identifier: Apache-2.0

#include "client/cluster.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/pull.h"
#include "common/base/float_bytes.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/cluster/statistics_proto.h"
#include "common/transport/channel.h"
#include "common/transport/credentials.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "percentdelta/v1/statistics.grpc.pb.h"

namespace percentdelta {
namespace {

// A running training may discard the weights of a step before they have been pulled.
constexpr int kPullAttempts = 5;

// Names the server, and what it may be instead, in the errors of a call to the coordinator.
absl::Status Explain(const absl::Status& status, const std::string& address) {
  if (absl::IsUnavailable(status)) {
    return absl::UnavailableError(
        absl::StrCat("no server answers at ", address, " (", status.message(), ")"));
  }
  if (absl::IsDeadlineExceeded(status)) {
    return absl::DeadlineExceededError(
        absl::StrCat("the server at ", address, " did not answer in time"));
  }
  if (absl::IsUnimplemented(status)) {
    return absl::UnimplementedError(
        absl::StrCat("the server at ", address, " is not the coordinator, which is shard 0"));
  }
  return status;
}

}  // namespace

std::string ChecksumOf(const Weights& weights) {
  Sha256 hash;
  for (const std::vector<float>& values : weights.values) hash.Update(AsBytes(values));
  return hash.Hex();
}

struct Cluster::Impl {
  explicit Impl(Options cluster_options)
      : options(std::move(cluster_options)),
        coordinator(
            MakeCoordinatorStub(options.coordinator, options.deadline, options.credentials)),
        statistics(v1::Statistics::NewStub(MakeChannel(options.coordinator, options.credentials))) {
  }

  // Of a call to the Statistics service.
  absl::Status Failed(const grpc::Status& status) const {
    return Explain(ExplainUnavailable(FromGrpc(status), options.coordinator, options.credentials),
                   options.coordinator);
  }

  const Options options;
  const std::unique_ptr<CoordinatorStub> coordinator;
  const std::unique_ptr<v1::Statistics::Stub> statistics;
};

Cluster::Cluster(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Cluster::~Cluster() = default;

absl::StatusOr<ClusterInfo> Cluster::GetJob() const {
  absl::StatusOr<ClusterInfo> info = impl_->coordinator->GetJob();
  if (!info.ok()) return Explain(info.status(), impl_->options.coordinator);
  return info;
}

absl::StatusOr<Progress> Cluster::GetProgress(int64_t from_step) const {
  absl::StatusOr<Progress> progress = impl_->coordinator->GetProgress(from_step);
  if (!progress.ok()) return Explain(progress.status(), impl_->options.coordinator);
  return progress;
}

absl::StatusOr<int64_t> Cluster::TakeCheckpoint() const {
  absl::StatusOr<int64_t> step = impl_->coordinator->TakeCheckpoint();
  if (!step.ok()) return Explain(step.status(), impl_->options.coordinator);
  return step;
}

absl::Status Cluster::Pause() const {
  return Explain(impl_->coordinator->Pause(), impl_->options.coordinator);
}

absl::Status Cluster::Resume() const {
  return Explain(impl_->coordinator->Resume(), impl_->options.coordinator);
}

absl::StatusOr<int64_t> Cluster::Drain() const {
  absl::StatusOr<int64_t> step = impl_->coordinator->Drain();
  if (!step.ok()) return Explain(step.status(), impl_->options.coordinator);
  return step;
}

absl::StatusOr<std::vector<StepStatistics>> Cluster::GetUpdateStatistics(
    const StatisticsQuery& query) const {
  v1::GetUpdateStatisticsRequest request;
  request.set_layer(query.layer);
  request.set_last(query.last);
  request.set_first_step(query.first_step);
  request.set_last_step(query.last_step);
  // A response holds the newest steps that fit: request the earlier ones until all have arrived.
  std::deque<StepStatistics> steps;
  while (true) {
    v1::GetUpdateStatisticsResponse response;
    grpc::ClientContext context;
    SetDeadline(context, impl_->options.deadline);
    const grpc::Status status =
        impl_->statistics->GetUpdateStatistics(&context, request, &response);
    if (!status.ok()) return impl_->Failed(status);
    const size_t before = steps.size();
    for (auto step = response.steps().rbegin(); step != response.steps().rend(); ++step) {
      if (steps.empty() || step->step() < steps.front().step) steps.push_front(FromProto(*step));
    }
    if (steps.size() == before) break;
    const int64_t first = query.last > 0 ? steps.back().step + 1 - query.last : query.first_step;
    if (steps.front().step <= std::max(first, response.oldest_step())) break;
    request.set_last(0);
    request.set_first_step(std::max<int64_t>(0, first));
    // 0 would mean the newest.
    request.set_last_step(std::max<int64_t>(1, steps.front().step - 1));
  }
  return std::vector<StepStatistics>(steps.begin(), steps.end());
}

absl::Status Cluster::WatchUpdateStatistics(
    const std::string& layer, int32_t last,
    const std::function<bool(const StepStatistics& step, int64_t skipped)>& receive) const {
  v1::WatchUpdateStatisticsRequest request;
  request.set_layer(layer);
  request.set_last(last);
  grpc::ClientContext context;
  const auto stream = impl_->statistics->WatchUpdateStatistics(&context, request);
  v1::StepStatistics step;
  while (stream->Read(&step)) {
    if (receive(FromProto(step), step.skipped_steps())) continue;
    context.TryCancel();
    stream->Finish();
    return absl::OkStatus();
  }
  const grpc::Status status = stream->Finish();
  return status.ok() ? absl::OkStatus() : impl_->Failed(status);
}

absl::StatusOr<Weights> Cluster::PullWeights(const ClusterInfo& info, int64_t step) const {
  if (info.generation == 0) {
    return absl::UnavailableError("the cluster is still gathering its shards: try again");
  }
  std::vector<std::string> addresses = info.shard_addresses;
  for (std::string& address : addresses) {
    const auto other = impl_->options.connect_to.find(address);
    if (other != impl_->options.connect_to.end()) address = other->second;
    const absl::Status allowed =
        CheckSecurityOf("a shard's address", address, SecurityOf(impl_->options.credentials));
    if (!allowed.ok()) return absl::UnavailableError(allowed.message());
  }
  const ShardChannels channels(info.job.model, info.generation, addresses, /*shares_memory=*/false,
                               impl_->options.credentials);
  absl::Status status;
  for (int attempt = 0; attempt < kPullAttempts; ++attempt) {
    Weights weights;
    weights.step = step;
    if (step < 0) {
      // Omits the history, which is long. Shards retain the step before their current one, so a
      // running training seldom outruns the pull.
      ASSIGN_OR_RETURN(const Progress progress, GetProgress(info.job.max_steps));
      weights.step = progress.step;
    }
    WeightPull pull(channels, weights.step, impl_->options.deadline, weights.values);
    status = pull.AwaitAll();
    if (status.ok()) return weights;
    if (step >= 0 || !absl::IsFailedPrecondition(status)) break;
  }
  return status;
}

}  // namespace percentdelta
