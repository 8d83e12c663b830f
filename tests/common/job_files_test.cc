// Every job in deploy/jobs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <variant>

#include "common/job_codec.h"
#include "common/job_validation.h"

namespace percentdelta {
namespace {

using ::testing::IsEmpty;

std::map<std::string, Job> LoadAll() {
  std::map<std::string, Job> jobs;
  for (const auto& file : std::filesystem::directory_iterator(PD_JOBS)) {
    const absl::StatusOr<Job> job = LoadJob(file.path().string());
    EXPECT_TRUE(job.ok()) << job.status();
    jobs[file.path().stem().string()] = job.value_or(Job());
  }
  return jobs;
}

TEST(JobFilesTest, AllCanBeRead) {
  for (const auto& [name, job] : LoadAll()) {
    EXPECT_THAT(JobWarnings(job), IsEmpty()) << name;
    EXPECT_EQ(JobHash(*ParseJob(JobToText(job), name)), JobHash(job));
  }
}

TEST(JobFilesTest, ThereIsOneOfEachAlgorithm) {
  const std::map<std::string, Job> jobs = LoadAll();
  const auto has = [&]<typename Rule>(const std::string& name, const Rule&) {
    const auto found = jobs.find(name);
    ASSERT_NE(found, jobs.end()) << name;
    EXPECT_TRUE(std::holds_alternative<Rule>(found->second.optimizer.rule)) << name;
  };
  has("mnist", PercentDeltaRule());
  has("mnist-sgd", SgdRule());
  has("mnist-adagrad", AdaGradRule());
  has("mnist-adam", AdamRule());
  has("mnist-lars", LarsRule());
}

// But for the update and their names.
TEST(JobFilesTest, AlgorithmsAreComparedOnTheSameJob) {
  const auto jobs = LoadAll();
  const Job expected = *LoadJob("");
  for (const char* name : {"mnist", "mnist-sgd", "mnist-adagrad", "mnist-adam", "mnist-lars"}) {
    Job job = jobs.at(name);
    EXPECT_EQ(job.name.rfind("mnist-cnn", 0), 0U) << job.name;
    job.name = expected.name;
    job.optimizer = expected.optimizer;
    job.schedule = expected.schedule;
    job.momentum = expected.momentum;
    EXPECT_EQ(JobToText(job), JobToText(expected)) << name;
  }
}

}  // namespace
}  // namespace percentdelta
