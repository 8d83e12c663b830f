// What a shard makes of the coordinator's answers to its statistics.

#include "server/rpc/peers.h"

#include <gmock/gmock.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/cluster/statistics.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Answers as it was told to, then with OK.
class FakeCoordinator : public v1::Coordinator::Service {
 public:
  explicit FakeCoordinator(std::deque<grpc::Status> answers) : answers_(std::move(answers)) {}

  grpc::Status ReportStatistics(grpc::ServerContext* /*context*/,
                                const v1::ReportStatisticsRequest* request,
                                v1::ReportStatisticsResponse* /*response*/) override {
    absl::MutexLock lock(&mutex_);
    for (const auto& update : request->updates()) steps_.push_back(update.step());
    if (answers_.empty()) return grpc::Status::OK;
    grpc::Status answer = answers_.front();
    answers_.pop_front();
    return answer;
  }

  // The steps of all reports, when there are so many.
  std::vector<int64_t> AwaitSteps(size_t count) {
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return steps_.size() >= count; };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&there));
    return steps_;
  }

 private:
  absl::Mutex mutex_;
  std::deque<grpc::Status> answers_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> steps_ ABSL_GUARDED_BY(mutex_);
};

// Keeps what is logged, as "level message".
class RecordingSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  std::string AwaitFirst() {
    const auto there = [this]()
                           ABSL_SHARED_LOCKS_REQUIRED(lines_mutex_) { return !lines_.empty(); };
    absl::MutexLock lock(&lines_mutex_);
    lines_mutex_.Await(absl::Condition(&there));
    return lines_.front();
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const auto level = spdlog::level::to_string_view(message.level);
    absl::MutexLock lock(&lines_mutex_);
    lines_.push_back(
        absl::StrCat(absl::string_view(level.data(), level.size()), " ",
                     absl::string_view(message.payload.data(), message.payload.size())));
  }
  void flush_() override {}

 private:
  absl::Mutex lines_mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(lines_mutex_);
};

class PeersTest : public ::testing::Test {
 protected:
  void Start(std::deque<grpc::Status> answers) {
    coordinator_ = std::make_unique<FakeCoordinator>(std::move(answers));
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(coordinator_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    peers_ = std::make_shared<Peers>(1, std::vector<std::string>{absl::StrCat("127.0.0.1:", port)},
                                     SmallJob().model, ShardIdentity{1, "hash", 1},
                                     std::make_shared<spdlog::logger>("server-1", sink_));
  }

  ~PeersTest() override {
    if (peers_ != nullptr) peers_->Close();
    if (server_ != nullptr) server_->Shutdown();
  }

  void Report(int64_t step) {
    TensorStatistics update;
    update.step = step;
    update.tensor = SmallJob().model.tensors[0].name;
    peers_->ReportStatistics(update);
  }

  std::shared_ptr<RecordingSink> sink_ = std::make_shared<RecordingSink>();
  std::unique_ptr<FakeCoordinator> coordinator_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<Peers> peers_;
};

// A step that ends between the opening of a generation and the beat that tells of it is no trouble.
TEST_F(PeersTest, StatisticsOfAnEndedGenerationAreNoWarning) {
  Start({grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "generation: expected 2, got 1")});
  Report(7);
  EXPECT_THAT(sink_->AwaitFirst(), AllOf(HasSubstr("info statistics are of an ended generation"),
                                         HasSubstr("expected 2, got 1")));
}

TEST_F(PeersTest, RefusedStatisticsAreAWarning) {
  Start({grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "statistics: expected a step of ...")});
  Report(7);
  EXPECT_THAT(sink_->AwaitFirst(), HasSubstr("warning statistics refused"));
  Report(8);
  EXPECT_THAT(coordinator_->AwaitSteps(2), ElementsAre(7, 8));  // the refused ones are not repeated
}

TEST_F(PeersTest, StatisticsAreRepeatedUntilTheCoordinatorIsThere) {
  Start({grpc::Status(grpc::StatusCode::UNAVAILABLE, "away")});
  Report(7);
  EXPECT_THAT(coordinator_->AwaitSteps(2), ElementsAre(7, 7));
}

// The coordinator above is no shard: what answers at shard 0's address is something else.
TEST_F(PeersTest, ShardsThatAreNotWhereTheyShouldBeAreTrouble) {
  Start({});
  EXPECT_EQ(peers_->trouble(), "");
  peers_->Greet();
  while (peers_->trouble().empty()) std::this_thread::yield();
  EXPECT_THAT(peers_->trouble(),
              AllOf(HasSubstr("shard 0 advertises"), HasSubstr("UNIMPLEMENTED")));
}

}  // namespace
}  // namespace percentdelta
