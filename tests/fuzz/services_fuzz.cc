// SPDX-License-Identifier: Apache-2.0

// Generated requests of every RPC but Pull and Push, in any order, as clients may send them to a
// coordinator and to a shard, while time passes: the conversions of messages, and the handlers
// below the services. Every call must end, and progress must always be readable.

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/cluster/cluster_info_proto.h"
#include "common/cluster/heartbeat_proto.h"
#include "common/cluster/histogram_proto.h"
#include "common/cluster/lease_proto.h"
#include "common/cluster/progress_proto.h"
#include "common/cluster/statistics_proto.h"
#include "common/job/partition.h"
#include "common/transport/chunk_codec.h"
#include "server/coordinator/coordinator.h"
#include "server/rpc/acquire_lease.h"
#include "server/rpc/get_update_statistics.h"
#include "server/rpc/lease_ids.h"
#include "server/rpc/reduce_norms.h"
#include "server/rpc/watch_update_statistics.h"
#include "tests/fuzz/calls.h"
#include "tests/fuzz/message_maker.h"
#include "tests/fuzz/small_shard.h"

namespace percentdelta {
namespace {

constexpr int kMaxCalls = 40;
constexpr uint64_t kGeneration = 5;

class SetClock : public Clock {
 public:
  absl::Duration Now() const override { return now_; }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Duration now_ = absl::Hours(1000);
};

// A cluster of one shard, whose only generation may be open or not.
class Cluster {
 public:
  explicit Cluster(FuzzedDataProvider& input) : input_(input), coordinator_(OptionsFor(&clock_)) {
    if (input_.ConsumeBool()) {
      for (const uint64_t generation : {uint64_t{0}, kGeneration}) {
        FUZZ_CHECK(
            coordinator_
                .Heartbeat(
                    {0, 1, coordinator_.job_hash(), "localhost:5000", 7, generation, {}, "", 0, {}})
                .ok());
      }
    }
  }

  ~Cluster() {
    for (Lease& lease : waiting_) lease.call.End();
    for (Watch& watch : watches_) End(watch);
    for (Norms& norms : norms_) norms.call.End();
    coordinator_.Close();
  }

  void CallOne() {
    switch (input_.ConsumeIntegralInRange<int>(0, 11)) {
      case 0:
        return Heartbeat();
      case 1:
        return AcquireLease();
      case 2:
        return CompleteLease();
      case 3:
        return RenewLease();
      case 4:
        return ReportStatistics();
      case 5:
        return GetProgress();
      case 6:
        return GetStatistics();
      case 7:
        return WatchStatistics();
      case 8:
        return ReduceNorms();
      case 9:
        return GetJob();
      case 10:
        return PauseOrResume();
      default:
        clock_.Advance(absl::Milliseconds(input_.ConsumeIntegralInRange<int>(0, 100'000)));
        coordinator_.Tick();
        coordinator_.WorkOnCheckpoints();
    }
  }

 private:
  struct Lease {
    Lease(Coordinator& coordinator, CallLimiter& limiter, const LeaseIds& ids,
          const v1::AcquireLeaseRequest& request)
        : call(StartAcquireLease(coordinator, limiter, FuzzPeer(), request, request.worker(), ids,
                                 &response)) {}
    grpc::ByteBuffer response;  // before the call, which refers to it
    FakeUnary call;
  };
  struct Norms {
    Norms(const Shard& shard, CallLimiter& limiter, const v1::ReduceNormsRequest& request)
        : call(StartReduceNorms(shard, limiter, FuzzPeer(), EncodeMessage(request), &response)) {}
    grpc::ByteBuffer response;
    FakeUnary call;
  };
  using Watch = FakeWriter<grpc::ByteBuffer>;

  static Coordinator::Options OptionsFor(const Clock* clock) {
    Coordinator::Options options;
    options.job = TinyJob();
    options.first_generation = kGeneration;
    options.history_steps = 3;
    options.histogram_steps = 1;
    options.clock = clock;
    options.log = MakeSilentLogger();
    return options;
  }

  // A number that a check demands, or another.
  uint64_t Right(uint64_t right) {
    return input_.ConsumeIntegralInRange<int>(0, 7) > 0 ? right
                                                        : input_.ConsumeIntegral<uint64_t>();
  }

  void Heartbeat() {
    auto request = MakeMessage<v1::HeartbeatRequest>(input_);
    if (input_.ConsumeBool()) {
      request.set_shard_count(1);
      request.set_job_hash(coordinator_.job_hash());
      request.set_generation(Right(coordinator_.view().generation));
      request.set_incarnation(7);
    }
    const absl::StatusOr<ClusterView> view = coordinator_.Heartbeat(FromProto(request));
    if (!view.ok()) return;
    v1::HeartbeatResponse response;
    ToProto(*view, response);
    FUZZ_CHECK(FromProto(response, 1).ok());
  }

  void AcquireLease() {
    auto request = MakeMessage<v1::AcquireLeaseRequest>(input_);
    if (input_.ConsumeBool()) request.set_arithmetic("a");
    waiting_.emplace_back(coordinator_, limiter_, ids_, request);
    if (waiting_.back().call.status() && waiting_.back().call.status()->ok()) {
      FUZZ_CHECK(DecodeMessage(waiting_.back().response, last_));
      last_.set_lease_id(ids_.Reveal(last_.lease_id()));
      holder_ = request.worker();
    }
  }

  void CompleteLease() {
    auto request = MakeMessage<v1::CompleteLeaseRequest>(input_);
    request.set_generation(Right(coordinator_.view().generation));
    request.set_lease_id(Right(last_.lease_id()));
    if (input_.ConsumeBool()) request.set_worker(holder_);
    if (input_.ConsumeBool()) {
      request.set_examples(last_.example_count());
      request.set_correct(0);
      request.clear_failure();
    }
    const auto next = coordinator_.Complete(FromProto(request));
    if (!next.ok()) return;
    ToProto(*next, last_);
    holder_ = request.worker();
  }

  void RenewLease() {
    auto request = MakeMessage<v1::RenewLeaseRequest>(input_);
    if (input_.ConsumeBool()) request.set_worker(holder_);
    coordinator_
        .Renew(Right(coordinator_.view().generation), Right(last_.lease_id()), request.worker())
        .IgnoreError();
  }

  void PauseOrResume() {
    (input_.ConsumeBool() ? coordinator_.Pause() : coordinator_.Resume()).IgnoreError();
  }

  void ReportStatistics() {
    const auto request = MakeMessage<v1::ReportStatisticsRequest>(input_);
    std::vector<TensorStatistics> updates;
    for (const v1::TensorStatistics& update : request.updates()) {
      updates.push_back(FromProto(update));
    }
    const uint64_t generation = Right(coordinator_.view().generation);
    coordinator_.ReportStatistics(generation, updates).IgnoreError();
    for (const v1::SliceHistograms& each : request.histograms()) {
      const absl::StatusOr<SliceHistograms> histograms = FromProto(each);
      if (histograms.ok()) coordinator_.ReportHistograms(generation, *histograms).IgnoreError();
    }
  }

  void GetProgress() {
    const auto request = MakeMessage<v1::GetProgressRequest>(input_);
    v1::GetProgressResponse response;
    ToProto(coordinator_.GetProgress(request.from_step()), response);
    v1::GetProgressResponse read;
    FUZZ_CHECK(read.ParseFromString(response.SerializeAsString()));
    FromProto(read);
  }

  void GetStatistics() {
    const auto request = MakeMessage<v1::GetUpdateStatisticsRequest>(input_);
    v1::GetUpdateStatisticsResponse response;
    GetUpdateStatistics(coordinator_.statistics(), request, response).IgnoreError();
  }

  void WatchStatistics() {
    const auto request = MakeMessage<v1::WatchUpdateStatisticsRequest>(input_);
    Watch& watch = watches_.emplace_back(StartWatchUpdateStatistics(
        coordinator_.statistics(), limiter_, FuzzPeer(), EncodeMessage(request)));
    if (watch.written() != nullptr) watch.Written(input_.ConsumeBool());
  }

  static void End(Watch& watch) {
    if (watch.written() != nullptr) watch.Written(false);
    watch.End();
  }

  void ReduceNorms() {
    auto request = MakeMessage<v1::ReduceNormsRequest>(input_);
    request.set_generation(Right(kSmallGeneration));
    if (!small_) small_.emplace();  // it has a thread: not in each run
    norms_.emplace_back(small_->shard(), limiter_, request);
  }

  void GetJob() {
    const ClusterView view = coordinator_.view();
    v1::GetJobResponse response;
    ToProto({coordinator_.job(), coordinator_.job_hash(), view.generation, view.addresses},
            Partition(coordinator_.job().model, 1), response);
    FUZZ_CHECK(FromProto(response).ok());
  }

  FuzzedDataProvider& input_;
  SetClock clock_;
  CallLimiter limiter_{LimiterOptions()};
  Coordinator coordinator_;
  std::optional<SmallShard> small_;
  const LeaseIds ids_{"key"};
  v1::Lease last_;      // with the coordinator's id
  std::string holder_;  // of `last_`
  std::deque<Lease> waiting_;
  std::deque<Watch> watches_;
  std::deque<Norms> norms_;
};

}  // namespace
}  // namespace percentdelta

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  percentdelta::Cluster cluster(input);
  for (int calls = 0; calls < percentdelta::kMaxCalls && input.remaining_bytes() > 0; ++calls) {
    cluster.CallOne();
  }
  return 0;
}
