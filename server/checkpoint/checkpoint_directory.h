// What in a directory of checkpoints is the servers' own, by its exact name, and the removal of it.
//
// Whatever else is there belongs to the user: it is neither read nor removed. Symbolic links are
// not followed, and are never the servers' own. (The directory itself may be reached by one.)

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

// The step of which StepDirectory() makes just this name; nothing if there is none.
std::optional<int64_t> StepOfName(absl::string_view name);

// Whether a file of this name in a step's directory is the servers' own: a slice file, the history,
// the manifest, or a temporary file of one of them.
bool IsStepFileName(absl::string_view name);

// Whether `name` is that of a temporary file which DurableFile makes for the file `base`.
bool IsTemporaryName(absl::string_view name, absl::string_view base);

// Whether it is a temporary file among these.
bool IsStepTemporaryName(absl::string_view name);

// Whether `name` is one that CheckpointStore::SetAside makes: "set-aside-NUMBER".
bool IsAsideName(absl::string_view name);

// An entry of a directory. Links are links, whatever they lead to.
struct DirectoryEntry {
  enum class Kind { kFile, kDirectory, kLink, kOther };
  std::string name;
  Kind kind = Kind::kOther;
};

// The entries of a directory, by name. Errors: the system's reason, with the path.
absl::StatusOr<std::vector<DirectoryEntry>> ListDirectory(const std::string& directory);

// The directories of checkpoints, whole or not, by step.
absl::StatusOr<std::map<int64_t, std::string>> FindStepDirectories(const std::string& directory);

// The names of what is not the servers' own in a directory of checkpoints, and in the directories
// of its steps ("step-0000000010/notes.txt").
absl::StatusOr<std::vector<std::string>> FindForeign(const std::string& directory);

// Makes the directory of a step, and those above it, if they are not there.
//   kFailedPrecondition  something else has its name, such as a link; others: the system's reason
absl::Status MakeStepDirectory(const std::string& directory, int64_t step);

// Removes the regular files of `directory` whose names are `wanted`, the manifest first, for half a
// checkpoint must not look like one. Returns their names. What has vanished meanwhile is no error.
absl::StatusOr<std::vector<std::string>> RemoveFiles(
    const std::string& directory, const std::function<bool(absl::string_view name)>& wanted);

// The same, and then removes the directory if it is empty.
struct StepRemoval {
  bool gone = false;  // the directory; else it holds what was not wanted
  size_t files = 0;   // that were removed
};
absl::StatusOr<StepRemoval> RemoveStep(const std::string& directory,
                                       const std::function<bool(absl::string_view name)>& wanted);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_CHECKPOINT_CHECKPOINT_DIRECTORY_H_
