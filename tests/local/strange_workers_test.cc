// SPDX-License-Identifier: Apache-2.0

// Faulty workers, and other services at a shard's address, neither end a training nor change it.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/coordinator_stub.h"
#include "common/job/job_codec.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "worker/kernels/select.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kSteps = 12;

Job TestJob() {
  Job job = SmallMnistJob(kSteps);
  job.evaluation.reset();  // so that the first lease is a slot
  return job;
}

const std::string& Undisturbed() {
  static const std::string kChecksum = TrainAndChecksum(SmallOptions(TestJob()));
  return kChecksum;
}

// A worker that reports without doing any work: failures with the reason `failure`, or if that is
// empty, successes without a push.
class StrangeWorker {
 public:
  StrangeWorker(const std::string& coordinator, std::string name, std::string failure)
      : stub_(MakeCoordinatorStub(coordinator, absl::Seconds(10))),
        name_(std::move(name)),
        failure_(std::move(failure)) {}

  // Takes leases and reports them until it is refused, and returns the error.
  absl::Status Run() {
    const WorkerIdentity self = {name_, SupportedKernels().front()->arithmetic};
    absl::StatusOr<Lease> lease = Lease{};
    while (true) {
      if (lease->kind == Lease::Kind::kWait) {
        lease = stub_->AcquireLease(self, absl::Milliseconds(20));
      }
      if (!lease.ok()) return lease.status();
      if (lease->kind != Lease::Kind::kTrain) continue;
      LeaseResult result;
      result.generation = lease->generation;
      result.lease_id = lease->id;
      result.worker = name_;
      result.failure = failure_;
      result.examples = TestJob().batch_size;
      lease = stub_->CompleteLease(result);
      if (!lease.ok()) return lease.status();
    }
  }

 private:
  const std::unique_ptr<CoordinatorStub> stub_;
  const std::string name_;
  const std::string failure_;
};

std::unique_ptr<LocalCluster> StartServers() {
  LocalCluster::Options options = SmallOptions(TestJob());
  options.shards = 2;
  options.workers = 0;
  options.worker_threads = 1;
  std::unique_ptr<LocalCluster> cluster = *LocalCluster::Start(std::move(options));
  AwaitGeneration(cluster->coordinator());
  return cluster;
}

TEST(StrangeWorkersTest, Table) {
  const struct {
    std::string what;
    std::string failure;  // empty: it reports results
    std::string reason;   // with which it is suspended
  } rows[] = {
      {"reports without having pushed", "", "without having pushed its gradient"},
      {"fails at everything", "no such animal", "no such animal"},
      {"gives reasons that forge log lines", "x\n2026-01-01T00:00:00.000Z I server-0 all is well",
       "x\\n2026"},
      {"gives long reasons", std::string(60'000, 'x'), "xxx"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.what);
    const std::unique_ptr<LocalCluster> cluster = StartServers();
    const absl::Status refused =
        StrangeWorker(cluster->coordinator(), "strange", row.failure).Run();
    EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                  AllOf(HasSubstr("strange"), HasSubstr(row.reason))));
    EXPECT_LT(refused.message().size(), 1500U);
    const auto stub = MakeCoordinatorStub(cluster->coordinator(), absl::Seconds(10));
    ASSERT_OK_AND_ASSIGN(const Progress stuck, stub->GetProgress(0));
    EXPECT_EQ(stuck.state, TrainingState::kTraining);
    EXPECT_EQ(stuck.step, 0);
    EXPECT_THAT(stuck.message, HasSubstr("strange"));
    cluster->AddWorker();
    EXPECT_OK(cluster->AwaitWorkers());
    EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
  }
}

// Takes every lease that it can get, under new names, and renews all of them until it is destroyed.
class Squatter {
 public:
  Squatter(std::string coordinator, int number)
      : thread_([this, coordinator = std::move(coordinator), number] {
          const auto stub = MakeCoordinatorStub(coordinator, absl::Seconds(10));
          std::vector<std::pair<std::string, Lease>> held;
          for (int i = 0; !stop_; ++i) {
            const std::string name = absl::StrCat("squatter-", number, "-", i % 500);
            const auto lease = stub->AcquireLease({name, SupportedKernels().front()->arithmetic},
                                                  absl::Milliseconds(10));
            if (lease.ok() && lease->kind == Lease::Kind::kTrain) held.emplace_back(name, *lease);
            if (held.size() > 20) held.erase(held.begin());
            for (const auto& [holder, each] : held) stub->RenewLease(each, holder).IgnoreError();
          }
        }) {}
  ~Squatter() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST(StrangeWorkersTest, LeasesThatAreOnlyRenewedDoNotStopATraining) {
  constexpr int64_t kManySteps = 40;
  Job job = TestJob();
  job.max_steps = kManySteps;
  const std::string undisturbed = TrainAndChecksum(SmallOptions(job));
  LocalCluster::Options options = SmallOptions(job);
  options.shards = 2;
  options.workers = 1;
  options.worker_threads = 1;
  const std::unique_ptr<LocalCluster> cluster = *LocalCluster::Start(std::move(options));
  const auto stub = MakeCoordinatorStub(cluster->coordinator(), absl::Seconds(10));
  while (stub->GetProgress(0)->step == 0) absl::SleepFor(absl::Milliseconds(5));
  std::vector<std::unique_ptr<Squatter>> squatters;
  squatters.reserve(4);
  for (int i = 0; i < 4; ++i) {
    squatters.push_back(std::make_unique<Squatter>(cluster->coordinator(), i));
  }
  EXPECT_OK(cluster->AwaitWorkers());
  EXPECT_GT(stub->GetProgress(0)->speculative_leases, 0);
  squatters.clear();
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kManySteps), undisturbed);
}

// The first call used to decide how all workers must compute. What the stranger might have pushed
// is thrown away: the first step is done again.
TEST(StrangeWorkersTest, MadeUpArithmeticExcludesNoWorker) {
  const std::unique_ptr<LocalCluster> cluster = StartServers();
  const auto stub = MakeCoordinatorStub(cluster->coordinator(), absl::Seconds(10));
  absl::StatusOr<Lease> lease = Lease{};
  while (lease.ok() && lease->kind == Lease::Kind::kWait) {
    lease = stub->AcquireLease({"strange", "made-up", "no data"}, absl::Seconds(1));
  }
  ASSERT_OK(lease);
  ASSERT_EQ(lease->kind, Lease::Kind::kTrain);
  cluster->AddWorker();
  EXPECT_OK(cluster->AwaitWorkers());
  EXPECT_EQ(ChecksumAt(cluster->coordinator(), kSteps), Undisturbed());
  ASSERT_OK_AND_ASSIGN(const Progress progress, stub->GetProgress(0));
  EXPECT_EQ(progress.arithmetic, SupportedKernels().front()->arithmetic);
  EXPECT_GT(progress.generation, lease->generation);
  EXPECT_THAT(stub->AcquireLease({"strange", "made-up"}, absl::ZeroDuration()).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("got made-up")));
}

// The answers of another service at a shard's address do not count against the worker.
TEST(StrangeWorkersTest, AnotherServiceTakesAShardsPort) {
  const TemporaryDirectory directory;
  const std::string job_path = directory.path() + "/job.textproto";
  WriteFile(job_path, JobToText(TestJob()));
  WriteSmallDataSets(directory.path());
  Process first({PD_SERVER, "--listen=127.0.0.1:0", "--shards=2", "--job=" + job_path});
  const std::string coordinator = ListenAddress(first);
  const auto start_second = [&](const std::string& listen) {
    return Process({PD_SERVER, "--listen=" + listen, "--shards=2", "--shard=1",
                    "--coordinator=" + coordinator, "--job=" + job_path});
  };
  std::string address;
  const auto stub = MakeCoordinatorStub(coordinator, absl::Seconds(10));
  const auto failed = [&] { return stub->GetProgress(0)->failed_leases; };
  {
    Process second = start_second("127.0.0.1:0");
    address = ListenAddress(second);
    // The first lease is granted when both shards have entered the generation. Return it.
    const WorkerIdentity self = {"first", SupportedKernels().front()->arithmetic};
    absl::StatusOr<Lease> lease = Lease{};
    while (lease.ok() && lease->kind == Lease::Kind::kWait) {
      lease = stub->AcquireLease(self, absl::Seconds(1));
    }
    ASSERT_OK(lease);
    LeaseResult unwanted;
    unwanted.generation = lease->generation;
    unwanted.lease_id = lease->id;
    unwanted.worker = self.name;
    unwanted.failure = "not wanted";
    unwanted.caused_by_environment = true;
    unwanted.leaving = true;
    ASSERT_OK(stub->CompleteLease(unwanted));
    second.Signal(SIGKILL);
    second.Wait();
  }
  std::optional<Process> worker;
  {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    const std::unique_ptr<grpc::Server> stranger = builder.BuildAndStart();
    ASSERT_NE(stranger, nullptr);
    worker.emplace(std::vector<std::string>{PD_WORKER, "--data=" + directory.path(),
                                            "--coordinator=" + coordinator, "--threads=1"});
    while (failed() < 6) absl::SleepFor(absl::Milliseconds(10));
  }
  const Process second = start_second(address);
  EXPECT_EQ(worker->Wait(), 0) << worker->output();
  EXPECT_EQ(ChecksumAt(coordinator, kSteps), Undisturbed());
}

}  // namespace
}  // namespace percentdelta
