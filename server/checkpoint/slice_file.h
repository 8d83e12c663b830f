// SPDX-License-Identifier: Apache-2.0

// A shard's part of a checkpoint: its slices of the weights and of the optimizer's state, as one
// safetensors file.
//
// For every slice a file has the flat tensor "conv1/weights" with the slice's weights, and a flat
// tensor "conv1/weights velocity" for each array of the optimizer, unless the tensor is a buffer.
// The metadata hold, under the same names, which entries of the tensor these are: "[0, 800) of
// 800"; and the step, the shard, the number of shards and the generation, which together identify
// the file among those of its name.

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_SLICE_FILE_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_SLICE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/durable_file.h"
#include "common/cluster/heartbeat.h"
#include "common/job/job.h"
#include "common/job/partition.h"
#include "server/checkpoint/slice_content.h"

namespace percentdelta {

std::string SliceFileName(int shard, int shards);  // "shard-00000-of-00003.safetensors"

// Writes the slices of one shard durably into `directory`. `state_names`: of the optimizer's arrays
// of each slice that is trained. Passes the fault point "slice_file" before the commit. Errors: the
// system's reason, with the path; no file is left behind.
absl::StatusOr<FileEntry> WriteSliceFile(const std::string& directory, int shard, int shards,
                                         const ShardContent& content, const ModelSpec& model,
                                         const std::vector<std::string>& state_names,
                                         const DurableFile::Options& options);

// Checks that `directory` holds the file that a shard of `shards` has reported, of this step and
// generation, by the file's name, size and metadata. Reads only its header; the values' checksum is
// checked when the checkpoint is opened.
//   kNotFound  there is no such file, or another one; the message says what was expected
//   others     the system's reason, with the path
absl::Status CheckSliceFile(const std::string& directory, const FileEntry& file, int shards,
                            int64_t step, uint64_t generation);

// Reads the slices `wanted`, whatever shards they belong to now, from the files that `shards`
// shards wrote into `directory`. Reads only files that hold some of them.
//   kDataLoss  a file is damaged or does not hold what the partition says; the message names it
absl::StatusOr<std::vector<SliceContent>> ReadSlices(const std::string& directory, int shards,
                                                     const ModelSpec& model,
                                                     const std::vector<std::string>& state_names,
                                                     const std::vector<TensorRange>& wanted);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_SLICE_FILE_H_
