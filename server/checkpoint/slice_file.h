// A shard's part of a checkpoint: its slices of the weights and of what the optimizer keeps for
// each entry, as one safetensors file.
//
// A file has, for every slice, the flat tensor "conv1/weights" with the slice's weights and a flat
// tensor "conv1/weights velocity" for each array of the optimizer. The metadata tell, under the
// same names, which entries of the whole tensor these are: "[0, 800) of 800"; and the step, the
// shard, the number of shards and the generation, which no two files of one name have in common.

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

// Writes the slices of one shard durably into `directory`. `state_names`: of the arrays of each
// slice. Passes the fault point "slice_file" before the commit. Errors: the system's reason, with
// the path; nothing is left behind.
absl::StatusOr<FileEntry> WriteSliceFile(const std::string& directory, int shard, int shards,
                                         const ShardContent& content, const ModelSpec& model,
                                         const std::vector<std::string>& state_names,
                                         const DurableFile::Options& options);

// Whether `directory` holds the file that a shard of `shards` has reported, of this step and
// generation. Told by the file's name, its size and its metadata, for the cost of reading its
// header: the values are not read again, their checksum is for whoever restores them.
//   kNotFound  no such file is there, or another one; the message says what was expected
//   others     the system's reason, with the path
absl::Status CheckSliceFile(const std::string& directory, const FileEntry& file, int shards,
                            int64_t step, uint64_t generation);

// Reads `wanted` slices, at whatever shards' borders, out of the files that `shards` shards wrote
// into `directory`. Only files that hold some of them are read.
//   kDataLoss  a file is damaged or does not hold what the partition says; the message names it
absl::StatusOr<std::vector<SliceContent>> ReadSlices(const std::string& directory, int shards,
                                                     const ModelSpec& model,
                                                     const std::vector<std::string>& state_names,
                                                     const std::vector<TensorRange>& wanted);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_SLICE_FILE_H_
