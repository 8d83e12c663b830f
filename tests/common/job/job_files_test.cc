// SPDX-License-Identifier: Apache-2.0

// Every job in deploy/jobs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "common/base/sha256.h"
#include "common/job/initial_weights.h"
#include "common/job/job_codec.h"
#include "common/job/job_validation.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::IsEmpty;

std::map<std::string, Job> LoadAll() {
  std::map<std::string, Job> jobs;
  for (const auto& file : std::filesystem::directory_iterator(PD_JOBS)) {
    const absl::StatusOr<Job> job = LoadJob(file.path().string());
    EXPECT_OK(job);
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
  std::set<size_t> rules;
  for (const auto& [name, job] : jobs) {
    if (name.rfind("mnist", 0) == 0) rules.insert(job.optimizer.rule.index());
  }
  EXPECT_EQ(rules.size(), std::variant_size_v<UpdateRule>);
}

// SHA-256 of the weights before the first step, of all tensors concatenated.
std::string InitialWeightsHash(const Job& job) {
  std::string bytes;
  for (const TensorSpec& tensor : job.model.tensors) {
    std::vector<float> values(tensor.size());
    DrawInitialWeights(tensor, job.seed, 0, absl::MakeSpan(values));
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  return Sha256Hex(bytes);
}

// As in released versions: a server must accept a worker of another version for the same job, and
// draw the same weights.
TEST(JobFilesTest, HashesAreThoseOfReleasedVersions) {
  struct Hashes {
    std::string job;
    std::string initial_weights;
  };
  const std::string cnn = "6c6ec3bfd54d5e44287ad3f0adc3eca691964144460538cd42a404a0938141c4";
  const std::map<std::string, Hashes> expected = {
      {"documents",
       {"53d3dd7c69246758de683d9dd19862d5745308163487f95f48ffa466e0af2bed",
        "db01526b220b274d032eb8d1bf8b47863addef5e5820eba07e686ddec42fced9"}},
      {"mnist", {"a1fbc951f3fc13eeb39b5fd5ec503b50b38cd5443d6daa0dee8ca69d91d463b1", cnn}},
      {"mnist-adagrad", {"13de3f8090e2a2c5d4a6b7c958dbc4e301b48d2b849121e0d0c85343e6adc03f", cnn}},
      {"mnist-adam", {"16be9708fa6ff4293c90074b1f6dca922277ca5c3007a43a3ce5e6f6218f0d62", cnn}},
      {"mnist-lamb", {"3c5f41795bf9e65aa7433329141d17e993d27351137885829f4d9c2ad8dd5de1", cnn}},
      {"mnist-lars", {"d72c769357aa027d95e6d11cb041336ee4a2433a236d932f10faa8e9af5cf12d", cnn}},
      {"mnist-sgd", {"4f7ce70fb0b1f3821ab4ebe51b8dc147082e4e3a7ed48401683e8d6cc4ebd60a", cnn}},
      {"ratings",
       {"24c31791cbc0c5264d894ac30f1d60aa8e88a76db4c36e6fe5b7b66f562817a6",
        "bdffc3cb027dcc1ad8e77a9be5f706ad7be7a74ccea269a7ab2a9c895b17bedd"}},
  };
  const std::map<std::string, Job> jobs = LoadAll();
  ASSERT_EQ(jobs.size(), expected.size());
  for (const auto& [name, job] : jobs) {
    EXPECT_EQ(JobHash(job), expected.at(name).job) << name;
    EXPECT_EQ(InitialWeightsHash(job), expected.at(name).initial_weights) << name;
  }
}

// Except for their updates and names.
TEST(JobFilesTest, AlgorithmsAreComparedOnTheSameJob) {
  const auto jobs = LoadAll();
  const Job expected = *LoadJob("");
  for (const char* name :
       {"mnist", "mnist-sgd", "mnist-adagrad", "mnist-adam", "mnist-lars", "mnist-lamb"}) {
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
