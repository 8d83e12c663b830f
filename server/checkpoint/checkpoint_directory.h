// SPDX-License-Identifier: Apache-2.0

// Which files in a directory of checkpoints are the servers' own, by their exact names, and their
// removal.
//
// All other files belong to the user: they are neither read nor removed. Symbolic links are not
// followed, and are never the servers' own. (The directory itself may be reached through one.)

#ifndef PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_DIRECTORY_H_
#define PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_DIRECTORY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace percentdelta {

inline constexpr char kClusterName[] = "cluster.json";
inline constexpr char kAsidePrefix[] = "set-aside-";

std::string StepDirectory(const std::string& directory, int64_t step);  // "DIRECTORY/step-..."

// The step for which StepDirectory() makes exactly this name; nothing if there is none.
std::optional<int64_t> StepOfName(absl::string_view name);

// Whether a file of this name in a step's directory is the servers' own: a slice file, the history,
// the manifest, or a temporary file of one of these.
bool IsStepFileName(absl::string_view name);

// Whether DurableFile gives this name to a temporary file of the file `base`.
bool IsTemporaryName(absl::string_view name, absl::string_view base);

// Whether it is the name of a temporary file of one of these.
bool IsStepTemporaryName(absl::string_view name);

// Whether CheckpointStore::SetAside makes this name: "set-aside-NUMBER".
bool IsAsideName(absl::string_view name);

// An entry of a directory. A symbolic link is a kLink, not what it leads to.
struct DirectoryEntry {
  enum class Kind { kFile, kDirectory, kLink, kOther };
  std::string name;
  Kind kind = Kind::kOther;
};

// The entries of a directory, by name. Errors: the system's reason, with the path.
absl::StatusOr<std::vector<DirectoryEntry>> ListDirectory(const std::string& directory);

// The directories of checkpoints, complete or not, by step.
absl::StatusOr<std::map<int64_t, std::string>> FindStepDirectories(const std::string& directory);

// The names of the entries that are not the servers' own in a directory of checkpoints and in the
// directories of its steps ("step-0000000010/notes.txt").
absl::StatusOr<std::vector<std::string>> FindForeign(const std::string& directory);

// Creates the directory of a step, and those above it, unless they exist.
//   kFailedPrecondition  its name is taken, by a symbolic link for instance
//   others               the system's reason
absl::Status MakeStepDirectory(const std::string& directory, int64_t step);

// Removes the regular files of `directory` whose names `matches` accepts, the manifest first,
// because a part of a checkpoint must not look like one. Returns their names. A file that has
// vanished meanwhile is not an error.
absl::StatusOr<std::vector<std::string>> RemoveFiles(
    const std::string& directory, const std::function<bool(absl::string_view name)>& matches);

// The same, and then removes the directory if it is empty.
struct StepRemoval {
  bool gone = false;  // the directory; otherwise it holds other files
  size_t files = 0;   // removed
};
absl::StatusOr<StepRemoval> RemoveStep(const std::string& directory,
                                       const std::function<bool(absl::string_view name)>& matches);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_DIRECTORY_H_
