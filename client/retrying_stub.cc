// SPDX-License-Identifier: Apache-2.0

#include <atomic>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/coordinator_stub.h"
#include "common/base/clock.h"
#include "common/base/pause.h"
#include "common/base/transience.h"

namespace percentdelta {
namespace {

class RetryingStub : public CoordinatorStub {
 public:
  RetryingStub(std::unique_ptr<CoordinatorStub> stub, std::string address, RetryPolicy policy,
               Logger log)
      : stub_(std::move(stub)),
        address_(std::move(address)),
        policy_(std::move(policy)),
        log_(std::move(log)) {}

  absl::StatusOr<ClusterInfo> GetJob() override {
    return Retry([&] { return stub_->GetJob(); });
  }
  absl::StatusOr<Lease> AcquireLease(const WorkerIdentity& worker,
                                     absl::Duration max_wait) override {
    return Retry([&] { return stub_->AcquireLease(worker, max_wait); });
  }
  absl::StatusOr<Lease> CompleteLease(const LeaseResult& result) override {
    return Retry([&] { return stub_->CompleteLease(result); });
  }
  absl::StatusOr<absl::Duration> RenewLease(const Lease& lease,
                                            const std::string& worker) override {
    return Retry([&] { return stub_->RenewLease(lease, worker); });
  }
  absl::StatusOr<int64_t> TakeCheckpoint() override {
    return Retry([&] { return stub_->TakeCheckpoint(); });
  }
  absl::Status Pause() override {
    return Retry([&] { return stub_->Pause(); });
  }
  absl::Status Resume() override {
    return Retry([&] { return stub_->Resume(); });
  }
  absl::StatusOr<int64_t> Drain() override {
    return Retry([&] { return stub_->Drain(); });
  }
  absl::StatusOr<Progress> GetProgress(int64_t from_step) override {
    return Retry([&] { return stub_->GetProgress(from_step); });
  }
  void StopRetrying() override {
    stop_retrying_ = true;
    pause_.Cut();
  }
  void Cancel() override {
    cancelled_ = true;
    stub_->Cancel();
    StopRetrying();
  }

 private:
  static const absl::Status& StatusOf(const absl::Status& answer) { return answer; }
  template <typename T>
  static const absl::Status& StatusOf(const absl::StatusOr<T>& answer) {
    return answer.status();
  }

  template <typename Call>
  auto Retry(const Call& call) -> decltype(call()) {
    const absl::Duration start = clock_.Now();
    // The jitter must differ between workers, and cannot influence the training: it needs no seed.
    std::minstd_rand random{std::random_device{}()};
    absl::Duration pause = policy_.first_pause;
    bool logged = false;
    if (cancelled_) return absl::CancelledError("stopped");
    while (true) {
      auto answer = call();
      if (answer.ok()) has_answered_ = true;
      if (answer.ok() || !IsRetryable(StatusOf(answer))) {
        if (logged) log_->info("coordinator answers again address={}", address_);
        if (absl::IsUnimplemented(StatusOf(answer))) {
          return absl::UnimplementedError(absl::StrCat(
              "the server at ", address_,
              " is not the coordinator, which is shard 0; give its address with --coordinator"));
        }
        return answer;
      }
      if (stop_retrying_ || (policy_.stopped && policy_.stopped())) {
        return absl::CancelledError("stopped");
      }
      if (!logged) {
        log_->warn("waiting for coordinator address={} error=\"{}\"", address_,
                   StatusOf(answer).message());
        logged = true;
      }
      if (clock_.Now() - start > policy_.give_up_after) {
        return absl::UnavailableError(
            absl::StrCat("the coordinator at ", address_, " has not answered for ",
                         absl::FormatDuration(policy_.give_up_after),
                         "; the last error: ", StatusOf(answer).message()));
      }
      pause_.Take(pause * std::uniform_real_distribution<double>(0.5, 1)(random));
      if (stop_retrying_) return absl::CancelledError("stopped");
      pause = std::min(pause * 2, policy_.longest_pause);
    }
  }

  bool IsRetryable(const absl::Status& status) const {
    return IsTransient(status) || (has_answered_ && IsForeign(status));
  }

  const std::unique_ptr<CoordinatorStub> stub_;
  const std::string address_;
  const RetryPolicy policy_;
  const Logger log_;
  const SteadyClock clock_;
  std::atomic<bool> stop_retrying_{false};
  std::atomic<bool> cancelled_{false};
  percentdelta::Pause pause_;  // between attempts; concurrent calls may cut each other's short
  std::atomic<bool> has_answered_{false};  // whether the coordinator has ever answered
};

}  // namespace

std::unique_ptr<CoordinatorStub> MakeRetryingStub(std::unique_ptr<CoordinatorStub> stub,
                                                  const std::string& address, RetryPolicy policy,
                                                  Logger log) {
  return std::make_unique<RetryingStub>(std::move(stub), address, std::move(policy),
                                        std::move(log));
}

}  // namespace percentdelta
