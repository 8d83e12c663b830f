// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/cluster_file.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/durable_file.h"
#include "common/base/status_macros.h"
#include "common/job/job_codec.h"
#include "nlohmann/json.hpp"
#include "server/checkpoint/checkpoint_directory.h"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxBytes = int64_t{16} << 20;

std::string PathIn(const std::string& directory) {
  return absl::StrCat(directory, "/", kClusterName);
}

absl::Status CheckContent(const std::string& directory) {
  const std::string path = PathIn(directory);
  std::error_code error;
  const fs::file_status file = fs::symlink_status(path, error);
  if (!fs::exists(file)) return absl::OkStatus();
  if (fs::is_regular_file(file)) return ReadClusterFile(directory).status();
  return absl::DataLossError(absl::StrCat(path,
                                          ": expected the file of this name that servers write,"
                                          " got ",
                                          fs::is_symlink(file)     ? "a symbolic link"
                                          : fs::is_directory(file) ? "a directory"
                                                                   : "a device or a pipe"));
}

}  // namespace

absl::StatusOr<ClusterRecord> ReadClusterFile(const std::string& directory) {
  const std::string path = PathIn(directory);
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path, kMaxBytes));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("generation") ||
      !json["generation"].is_number_unsigned()) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected a JSON object with a generation, as servers write it"));
  }
  ClusterRecord record;
  record.generation = json["generation"].get<uint64_t>();
  if (json.contains("paused") && json["paused"].is_boolean()) {
    record.paused = json["paused"].get<bool>();
  }
  if (json.contains("job") && json["job"].is_string()) record.job = json["job"].get<std::string>();
  return record;
}

absl::Status WriteClusterFile(const std::string& directory, uint64_t generation, bool paused,
                              const Job& job, const FaultPoints& faults) {
  faults.Pass("generation");
  const nlohmann::ordered_json json = {{"generation", generation},
                                       {"paused", paused},
                                       {"job_hash", JobHash(job)},
                                       {"job", JobToText(job)}};
  return WriteDurably(PathIn(directory),
                      json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
                      {faults, nullptr, /*follow_links=*/false});
}

absl::Status CheckClusterFile(const std::string& directory) {
  absl::Status status = CheckContent(directory);
  if (absl::IsDataLoss(status)) {
    return absl::FailedPreconditionError(
        absl::StrCat(status.message(), "; move it away, or give another checkpoint.directory"));
  }
  RETURN_IF_ERROR(status);
  DurableFile probe(PathIn(directory), {FaultPoints(), nullptr, /*follow_links=*/false});
  status = probe.Open();
  return absl::IsResourceExhausted(status) ? absl::OkStatus() : status;
}

}  // namespace percentdelta
