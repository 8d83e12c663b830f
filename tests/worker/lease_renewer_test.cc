// SPDX-License-Identifier: Apache-2.0

#include "worker/lease_renewer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace percentdelta {
namespace {

constexpr absl::Duration kDeadline = absl::Milliseconds(6);  // a renewal every 2 ms

// The calls that a coordinator received. Thread-safe.
struct Calls {
  // Waits for the next renewal; returns the lease's number.
  uint64_t Next() {
    const auto received = [this]()
                              ABSL_SHARED_LOCKS_REQUIRED(mutex) { return renewed.size() > seen; };
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(&received));
    return renewed[seen++];
  }

  size_t count() {
    absl::MutexLock lock(&mutex);
    return renewed.size();
  }

  absl::Mutex mutex;
  absl::Status refusal ABSL_GUARDED_BY(mutex);
  std::vector<uint64_t> renewed ABSL_GUARDED_BY(mutex);
  size_t seen ABSL_GUARDED_BY(mutex) = 0;
};

// A coordinator that only renews.
class RenewingStub : public CoordinatorStub {
 public:
  explicit RenewingStub(Calls& calls) : calls_(calls) {}

  absl::StatusOr<absl::Duration> RenewLease(const Lease& lease,
                                            const std::string& /*worker*/) override {
    absl::MutexLock lock(&calls_.mutex);
    calls_.renewed.push_back(lease.id);
    if (!calls_.refusal.ok()) return calls_.refusal;
    return kDeadline;
  }

  absl::StatusOr<ClusterInfo> GetJob() override { return Unused(); }
  absl::StatusOr<Lease> AcquireLease(const WorkerIdentity& /*worker*/,
                                     absl::Duration /*max_wait*/) override {
    return Unused();
  }
  absl::StatusOr<Lease> CompleteLease(const LeaseResult& /*result*/) override { return Unused(); }
  absl::StatusOr<int64_t> TakeCheckpoint() override { return Unused(); }
  absl::Status Pause() override { return Unused(); }
  absl::Status Resume() override { return Unused(); }
  absl::StatusOr<int64_t> Drain() override { return Unused(); }
  absl::StatusOr<Progress> GetProgress(int64_t /*from_step*/) override { return Unused(); }

 private:
  static absl::Status Unused() { return absl::UnimplementedError("not called in this test"); }

  Calls& calls_;
};

Lease LeaseOf(uint64_t id) {
  Lease lease;
  lease.id = id;
  lease.deadline = kDeadline;
  return lease;
}

class LeaseRenewerTest : public testing::Test {
 protected:
  // Lets about `count` thirds of a deadline pass, measured by another worker's renewals.
  static void PassRenewals(int count) {
    Calls calls;
    LeaseRenewer other(std::make_unique<RenewingStub>(calls), "other");
    other.Begin(LeaseOf(1));
    for (int i = 0; i < count; ++i) {
      other.Progress();
      calls.Next();
    }
  }

  Calls calls_;
  LeaseRenewer renewer_{std::make_unique<RenewingStub>(calls_), "w"};
};

TEST_F(LeaseRenewerTest, RenewsWhileThereIsProgress) {
  renewer_.Begin(LeaseOf(7));
  for (int i = 0; i < 5; ++i) {
    renewer_.Progress();
    EXPECT_EQ(calls_.Next(), 7U);
  }
}

TEST_F(LeaseRenewerTest, DoesNotRenewWithoutProgress) {
  renewer_.Begin(LeaseOf(7));
  renewer_.Progress();
  EXPECT_EQ(calls_.Next(), 7U);
  PassRenewals(10);
  EXPECT_EQ(calls_.count(), 1U);
  renewer_.Progress();  // it was only slow
  EXPECT_EQ(calls_.Next(), 7U);
}

TEST_F(LeaseRenewerTest, DoesNotRenewAfterTheEnd) {
  renewer_.Begin(LeaseOf(7));
  renewer_.End();
  renewer_.Progress();
  PassRenewals(10);
  EXPECT_EQ(calls_.count(), 0U);
}

TEST_F(LeaseRenewerTest, ProgressOfAnEarlierLeaseDoesNotCount) {
  renewer_.Begin(LeaseOf(7));
  renewer_.Progress();
  renewer_.End();
  renewer_.Begin(LeaseOf(8));
  PassRenewals(10);
  EXPECT_EQ(calls_.count(), 0U);
  renewer_.Progress();
  EXPECT_EQ(calls_.Next(), 8U);
}

TEST_F(LeaseRenewerTest, ContinuesAfterAFailedRenewal) {
  {
    absl::MutexLock lock(&calls_.mutex);
    calls_.refusal = absl::UnavailableError("no answer");
  }
  renewer_.Begin(LeaseOf(7));
  for (int i = 0; i < 3; ++i) {
    renewer_.Progress();
    EXPECT_EQ(calls_.Next(), 7U);
  }
}

}  // namespace
}  // namespace percentdelta
