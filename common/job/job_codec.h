// Jobs in and out: the text format that people write, the protobuf that travels, the hash that
// tells two jobs apart.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_CODEC_H_
#define PERCENTDELTA_COMMON_JOB_JOB_CODEC_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/job/job.h"
#include "percentdelta/v1/job.pb.h"

namespace percentdelta {

// deploy/jobs/mnist.textproto, as it was when the binary was built.
absl::string_view DefaultJobText();

// Reads and checks a job (job_validation.h). kInvalidArgument: the message says where (`source`,
// line, column; or the field), what was expected and what came.
absl::StatusOr<Job> ParseJob(absl::string_view text, absl::string_view source);

// The job in the file at `path`, which is read as ReadJobFile (job_text.h) does; the default job
// when `path` is empty.
absl::StatusOr<Job> LoadJob(const std::string& path);

absl::StatusOr<Job> JobFromProto(const v1::Job& proto);
v1::Job JobToProto(const Job& job);
std::string JobToText(const Job& job);

// Where two jobs differ in what decides the weights of a step: "optimizer.learning_rate: 0.03 and
// 0.1", comma-separated; empty if they fit. The name, how long the training goes on, when it is
// evaluated and where it is kept do not matter.
std::string DecisiveDifferences(const Job& a, const Job& b);

// SHA-256, hexadecimal, of the job's canonical serialization.
std::string JobHash(const Job& job);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_CODEC_H_
