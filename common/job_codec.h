// Jobs in and out: the text format that people write, the protobuf that travels, the hash that
// tells two jobs apart.

#ifndef PERCENTDELTA_COMMON_JOB_CODEC_H_
#define PERCENTDELTA_COMMON_JOB_CODEC_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/job.h"
#include "percentdelta/v1/job.pb.h"

namespace percentdelta {

// deploy/jobs/mnist.textproto, as it was when the binary was built.
absl::string_view DefaultJobText();

// Reads and checks a job. kInvalidArgument: the message says where (`source`, line, column; or the
// field), what was expected and what came.
absl::StatusOr<Job> ParseJob(absl::string_view text, absl::string_view source);

// The job in the file at `path`; the default job when `path` is empty. kNotFound: no such file.
absl::StatusOr<Job> LoadJob(const std::string& path);

// Checks everything that can be checked without the data and the worker's model.
absl::Status ValidateJob(const Job& job);

// What is legal and seldom meant, a sentence each: to be shown at start.
std::vector<std::string> JobWarnings(const Job& job);

absl::StatusOr<Job> JobFromProto(const v1::Job& proto);
v1::Job JobToProto(const Job& job);
std::string JobToText(const Job& job);

// SHA-256, hexadecimal, of the job's canonical serialization.
std::string JobHash(const Job& job);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_CODEC_H_
