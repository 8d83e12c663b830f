// SPDX-License-Identifier: Apache-2.0

// Conversion of jobs: the text format that people write, the message that is sent, and the hash
// that identifies a job.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_CODEC_H_
#define PERCENTDELTA_COMMON_JOB_JOB_CODEC_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/job/job.h"
#include "percentdelta/v1/job.pb.h"

namespace percentdelta {

// The text of deploy/jobs/mnist.textproto at the time of the build.
absl::string_view DefaultJobText();

// Parses and validates a job (job_validation.h). kInvalidArgument: the message names the place
// (`source`, line, column; or the field), the expectation and the actual value.
absl::StatusOr<Job> ParseJob(absl::string_view text, absl::string_view source);

// Loads the job in the file at `path` with ReadJobFile (job_text.h); the default job if `path` is
// empty.
absl::StatusOr<Job> LoadJob(const std::string& path);

absl::StatusOr<Job> JobFromProto(const v1::Job& proto);
v1::Job JobToProto(const Job& job);
std::string JobToText(const Job& job);

// Lists the fields that determine the weights of a step and differ between our job and that of a
// checkpoint, as in "optimizer.learning_rate: 0.03 and 0.1", comma-separated; empty if there are
// none. The name, the number of steps, the evaluation, the checkpoints and the path of the initial
// weights (not their hash) do not matter. A job with any_arithmetic may continue one without; the
// other way round would promise too much.
std::string DecisiveDifferences(const Job& ours, const Job& its);

// SHA-256, hexadecimal, of the job's canonical serialization.
std::string JobHash(const Job& job);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_CODEC_H_
