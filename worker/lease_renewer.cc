// SPDX-License-Identifier: Apache-2.0

#include "worker/lease_renewer.h"

#include <utility>

namespace percentdelta {
namespace {

constexpr int kRenewalsPerDeadline = 3;

}  // namespace

LeaseRenewer::LeaseRenewer(std::unique_ptr<CoordinatorStub> stub, std::string worker)
    : stub_(std::move(stub)), worker_(std::move(worker)), thread_([this] { Run(); }) {}

LeaseRenewer::~LeaseRenewer() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  stub_->Cancel();
  pause_.Cut();
  thread_.join();
}

void LeaseRenewer::Begin(const Lease& lease) {
  {
    absl::MutexLock lock(&mutex_);
    lease_ = lease;
    changed_ = true;
    progress_ = false;
  }
  pause_.Cut();
}

void LeaseRenewer::End() {
  absl::MutexLock lock(&mutex_);
  lease_.reset();
}

void LeaseRenewer::Progress() {
  absl::MutexLock lock(&mutex_);
  progress_ = true;
}

void LeaseRenewer::Run() {
  // Without a lease, wait for the next one.
  absl::Duration wait = absl::InfiniteDuration();
  while (true) {
    pause_.Take(wait);
    Lease lease;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      if (std::exchange(changed_, false) && lease_) {
        wait = lease_->deadline / kRenewalsPerDeadline;
        continue;
      }
      if (!lease_) {
        wait = absl::InfiniteDuration();
        continue;
      }
      if (!std::exchange(progress_, false)) continue;
      lease = *lease_;
    }
    const absl::StatusOr<absl::Duration> deadline = stub_->RenewLease(lease, worker_);
    if (deadline.ok()) wait = *deadline / kRenewalsPerDeadline;
  }
}

}  // namespace percentdelta
