// SPDX-License-Identifier: Apache-2.0

// The data sets that workers accept; a worker whose data do not fit the job does not disturb
// others.

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/job/job_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/local/process.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "worker/data/data_sets.h"
#include "worker/worker.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class DataTest : public testing::Test {
 protected:
  DataTest() { WriteSmallDataSets(directory_.path()); }

  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  std::string WriteJob(const Job& job) const {
    WriteFile(Path("job.textproto"), JobToText(job));
    return "--job=" + Path("job.textproto");
  }

  // Returns options of a worker that trains on that data set.
  Worker::Options OptionsWith(const std::string& coordinator, const Dataset& training) const {
    Worker::Options options;
    options.name = "bad";
    options.coordinator = coordinator;
    options.load_data = [training](const Job& job, const auto&) {
      return MakeDataSets(job, std::make_shared<const Dataset>(training),
                          SyntheticDataset(kTestImages, 2));
    };
    return options;
  }

  const TemporaryDirectory directory_;
};

TEST_F(DataTest, AJobWithoutEvaluationNeedsNoTestFiles) {
  std::filesystem::remove(Path("t10k-images-idx3-ubyte"));
  std::filesystem::remove(Path("t10k-labels-idx1-ubyte"));
  Job job = SmallMnistJob(2);
  job.evaluation.reset();
  LocalCluster::Options options = SmallOptions(job);
  options.test_set = nullptr;
  const std::string expected = TrainAndChecksum(std::move(options));
  Process local({PD_LOCAL, "--data=" + directory_.path(), WriteJob(job)});
  EXPECT_EQ(local.Wait(), 0) << local.output();
  EXPECT_THAT(local.output(), HasSubstr(expected));
}

// The worker must leave before its first lease, or the lease would count as failed.
TEST_F(DataTest, AWorkerWhoseDataDoNotFitLeavesBeforeItTakesALease) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(2));
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  const Dataset good = *SyntheticDataset(kTrainingImages, 1);
  Dataset sides = good;
  sides.rows = sides.columns = 14;
  sides.pixels.resize(sides.count * 14 * 14);
  Dataset labels = good;
  labels.labels.back() = 10;
  const Dataset fewer = *SyntheticDataset(kTrainingImages - 1, 1);
  const std::vector<std::pair<Dataset, std::string>> misfits = {
      {sides, "data: the training set does not fit the job: images of 14 x 14"},
      {labels, "label 10 of image 199"},
      {fewer, "expected 200 training examples as the job says, got 199"}};
  for (const auto& [dataset, message] : misfits) {
    Worker worker(OptionsWith(cluster->coordinator(), dataset));
    EXPECT_THAT(worker.Run(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
  cluster->AddWorker();
  EXPECT_OK(cluster->AwaitWorkers());
}

TEST_F(DataTest, StopEndsTheLoading) {
  LocalCluster::Options options = SmallOptions(SmallMnistJob(2));
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  Worker* stopped = nullptr;
  Worker::Options worker_options;
  worker_options.coordinator = cluster->coordinator();
  worker_options.load_data = [&](const Job& job, const std::function<bool()>& cancelled) {
    EXPECT_FALSE(cancelled());
    stopped->Stop();
    ReadOptions read_options;
    read_options.cancelled = cancelled;
    absl::StatusOr<DataSets> data = LoadDataSets(directory_.path(), job, read_options);
    EXPECT_THAT(data, StatusIs(absl::StatusCode::kCancelled));
    return data;
  };
  Worker worker(std::move(worker_options));
  stopped = &worker;
  EXPECT_OK(worker.Run());
}

TEST_F(DataTest, RefusesSpecialFilesAtOnce) {
  std::filesystem::remove(Path("train-images-idx3-ubyte"));
  ASSERT_EQ(mkfifo(Path("train-images-idx3-ubyte").c_str(), 0600), 0);
  Process local({PD_LOCAL, "--data=" + directory_.path(), WriteJob(SmallMnistJob(2))});
  EXPECT_EQ(local.Wait(absl::Seconds(30)), 1) << local.output();
  EXPECT_THAT(local.output(),
              AllOf(HasSubstr(Path("train-images-idx3-ubyte")), HasSubstr("is a FIFO")));
}

TEST_F(DataTest, ErrorsNameTheCommandForTheJobsData) {
  Process local({PD_LOCAL, absl::StrCat("--job=", PD_JOBS, "/ratings.textproto"),
                 "--data=" + directory_.path()});
  EXPECT_EQ(local.Wait(), 1);
  EXPECT_THAT(local.output(),
              AllOf(HasSubstr("as the job says"), HasSubstr("deploy/make-data ratings"),
                    Not(HasSubstr("fetch-data"))));
  // A worker asks the cluster for the job, if the cluster answers.
  LocalCluster::Options options = SmallOptions(SmallMnistJob(2));
  options.workers = 0;
  ASSERT_OK_AND_ASSIGN(const auto cluster, LocalCluster::Start(std::move(options)));
  for (const auto& [coordinator, others] : std::vector<std::pair<std::string, bool>>{
           {cluster->coordinator(), false}, {"127.0.0.1:1", true}}) {
    Process worker({PD_WORKER, "--data=/nowhere", "--coordinator=" + coordinator});
    EXPECT_EQ(worker.Wait(absl::Seconds(30)), 1);
    EXPECT_THAT(worker.output(), AllOf(HasSubstr("\"/nowhere\": No such file or directory"),
                                       HasSubstr("deploy/fetch-data")));
    EXPECT_EQ(worker.output().find("make-data") != std::string::npos, others);
  }
}

}  // namespace
}  // namespace percentdelta
