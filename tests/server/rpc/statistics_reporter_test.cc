// SPDX-License-Identifier: Apache-2.0

// How StatisticsReporter handles the coordinator's answers.

#include "server/rpc/statistics_reporter.h"

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
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/cluster/statistics.h"
#include "common/transport/channel.h"
#include "percentdelta/v1/coordinator.grpc.pb.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Answers with the given statuses, and then with OK.
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

  // Waits for `count` reports, and returns the steps of all.
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

// Records what is logged, as "level message".
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

class StatisticsReporterTest : public ::testing::Test {
 protected:
  void Start(std::deque<grpc::Status> answers) {
    coordinator_ = std::make_unique<FakeCoordinator>(std::move(answers));
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(coordinator_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    reporter_ =
        std::make_unique<StatisticsReporter>(MakeChannel(absl::StrCat("127.0.0.1:", port)),
                                             std::make_shared<spdlog::logger>("server-1", sink_));
  }

  ~StatisticsReporterTest() override {
    if (reporter_ != nullptr) reporter_->Close();
    if (server_ != nullptr) server_->Shutdown();
  }

  static TensorStatistics StatisticsOf(int64_t step) {
    TensorStatistics statistics;
    statistics.step = step;
    statistics.tensor = SmallJob().model.tensors[0].name;
    return statistics;
  }

  void Report(int64_t step) { reporter_->Report(1, StatisticsOf(step)); }

  std::shared_ptr<RecordingSink> sink_ = std::make_shared<RecordingSink>();
  std::unique_ptr<FakeCoordinator> coordinator_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<StatisticsReporter> reporter_;
};

// A step may end after a generation was opened and before this shard learns of it.
TEST_F(StatisticsReporterTest, ReportsOfAnEndedGenerationAreNotAWarning) {
  Start({grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "generation: expected 2, got 1")});
  Report(7);
  EXPECT_THAT(sink_->AwaitFirst(), AllOf(HasSubstr("info statistics are of an ended generation"),
                                         HasSubstr("expected 2, got 1")));
}

TEST_F(StatisticsReporterTest, RefusedReportsAreAWarning) {
  Start({grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "statistics: expected a step of ...")});
  Report(7);
  EXPECT_THAT(sink_->AwaitFirst(), HasSubstr("warning statistics refused"));
  Report(8);
  EXPECT_THAT(coordinator_->AwaitSteps(2), ElementsAre(7, 8));  // the refused ones are not repeated
}

TEST_F(StatisticsReporterTest, RepeatsReportsUntilTheCoordinatorAnswers) {
  Start({grpc::Status(grpc::StatusCode::UNAVAILABLE, "away")});
  Report(7);
  EXPECT_THAT(coordinator_->AwaitSteps(2), ElementsAre(7, 7));
}

// Reports of a generation are not repeated once there is one of a newer generation.
TEST_F(StatisticsReporterTest, NewerGenerationsDropPendingReports) {
  Start({grpc::Status(grpc::StatusCode::UNAVAILABLE, "away")});
  Report(7);
  coordinator_->AwaitSteps(1);
  reporter_->Report(2, StatisticsOf(3));
  Report(8);  // of generation 1
  EXPECT_THAT(coordinator_->AwaitSteps(2), ElementsAre(7, 3));
  reporter_->Report(2, StatisticsOf(4));
  EXPECT_THAT(coordinator_->AwaitSteps(3), ElementsAre(7, 3, 4));
}

TEST_F(StatisticsReporterTest, CloseDropsReportsToBeRepeated) {
  Start(std::deque<grpc::Status>(100, grpc::Status(grpc::StatusCode::UNAVAILABLE, "away")));
  Report(7);
  coordinator_->AwaitSteps(1);
  reporter_->Close();
  Report(8);
  EXPECT_THAT(coordinator_->AwaitSteps(1), testing::Each(7));
}

}  // namespace
}  // namespace percentdelta
