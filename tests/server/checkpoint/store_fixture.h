// SPDX-License-Identifier: Apache-2.0

// A directory of tiny checkpoints.

#ifndef PERCENTDELTA_TESTS_SERVER_CHECKPOINT_STORE_FIXTURE_H_
#define PERCENTDELTA_TESTS_SERVER_CHECKPOINT_STORE_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/job/job_codec.h"
#include "common/job/partition.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/update/optimizer.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {

// So small that every bit of its checkpoints can be flipped.
inline Job TinyJob() {
  Job job = SmallJob();
  job.model.tensors = {{"a", {2}, ConstantInitializer{1}}};
  return job;
}

// The value of an entry is its index, so that it shows which entry it was written for.
inline std::vector<SliceContent> ContentOf(const Job& job, const std::vector<TensorRange>& slices) {
  std::vector<SliceContent> contents;
  for (const TensorRange& slice : slices) {
    std::vector<float> weights(slice.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      weights[i] = static_cast<float>(slice.begin + static_cast<int64_t>(i));
    }
    SliceContent& content = contents.emplace_back();
    content.range = slice;
    const size_t arrays = StateNames(job, job.model.tensors[slice.tensor]).size();
    for (size_t array = 0; array < arrays; ++array) {
      content.state.push_back(std::make_shared<std::vector<float>>(weights));
      for (float& value : *content.state.back()) value = -value - static_cast<float>(array);
    }
    content.weights = std::make_shared<const std::vector<float>>(std::move(weights));
  }
  return contents;
}

class CheckpointStoreTest : public testing::Test {
 protected:
  CheckpointStoreTest() { EXPECT_OK(store_->Prepare()); }

  // Writes a complete checkpoint, as generation `generation`, which started at `initial_step`.
  void Write(const Job& job, int64_t step, int shards = 1, uint64_t generation = 3,
             int64_t initial_step = 0) const {
    const std::string directory = StepDirectory(directory_, step);
    std::filesystem::create_directories(directory);
    const Partition partition(job.model, shards);
    std::vector<FileEntry> files;
    for (int shard = 0; shard < shards; ++shard) {
      if (partition.ranges_of_shard(shard).empty()) continue;
      const ShardContent content = {generation, step,
                                    ContentOf(job, partition.ranges_of_shard(shard))};
      ASSERT_OK_AND_ASSIGN(files.emplace_back(),
                           WriteSliceFile(directory, shard, shards, content, job.model,
                                          StateNames(job), DurableFile::Options()));
    }
    Manifest manifest;
    manifest.step = step;
    manifest.generation = generation;
    manifest.shards = shards;
    manifest.job_hash = JobHash(job);
    manifest.job = JobToText(job);
    History history;
    history.training = {{step - 1, 0.5, 0.9, 12}};
    history.arithmetic = "fma";
    ASSERT_OK(store_->Complete(manifest, files, history, initial_step));
  }

  // The step of the newest complete checkpoint; -1: none.
  int64_t Newest(const Job& job) const {
    const absl::StatusOr<std::optional<Checkpoint>> newest = store_->FindNewest(job);
    EXPECT_OK(newest);
    return newest.ok() && newest->has_value() ? (*newest)->manifest.step : -1;
  }

  std::vector<std::string> Names(const std::string& directory) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  // Overwrites a file of a checkpoint with `bytes`; returns the error of opening that checkpoint.
  static std::string Damage(const std::string& path, const std::string& bytes, const Job& job) {
    std::ofstream(path, std::ios::binary) << bytes;
    return std::string(
        OpenCheckpoint(std::filesystem::path(path).parent_path().string(), job).status().message());
  }

  const TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.path() + "/checkpoints";
  std::unique_ptr<CheckpointStore> store_ =
      std::make_unique<CheckpointStore>(directory_, 2, FaultPoints(), MakeSilentLogger());
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_CHECKPOINT_STORE_FIXTURE_H_
