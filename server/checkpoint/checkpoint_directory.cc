// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/descriptors.h"
#include "common/base/durable_file.h"
#include "common/base/errno_status.h"
#include "common/base/status_macros.h"
#include "server/checkpoint/history_file.h"
#include "server/checkpoint/manifest.h"
#include "server/checkpoint/slice_file.h"

namespace percentdelta {
namespace {

using Kind = DirectoryEntry::Kind;

constexpr char kStepPrefix[] = "step-";

absl::Status SystemError(absl::string_view what, const std::string& path) {
  return ErrnoStatus(errno, what, path);
}

// A number as StrCat writes it: without sign, leading zeros and blanks.
std::optional<int64_t> ParseNumber(absl::string_view text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 0 || absl::StrCat(number) != text) {
    return std::nullopt;
  }
  return number;
}

// "shard-00001-of-00003.safetensors", as SliceFileName writes it.
bool IsSliceFileName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, absl::ByAnyChar("-."));
  int shard = 0;
  int shards = 0;
  return parts.size() == 5 && absl::SimpleAtoi(parts[1], &shard) &&
         absl::SimpleAtoi(parts[3], &shards) && shard >= 0 && shard < shards &&
         name == SliceFileName(shard, shards);
}

bool IsCommittedName(absl::string_view name) {
  return name == kManifestName || name == kHistoryName || IsSliceFileName(name);
}

// An open directory. Does not follow a symbolic link at the path itself if `follow` is false.
class Directory {
 public:
  Directory(const std::string& path, bool follow) {
    UniqueDescriptor file(
        open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW)));
    if (!file.ok()) return;
    stream_ = fdopendir(file.get());
    if (stream_ != nullptr) file.Release();
  }
  ~Directory() {
    if (stream_ != nullptr) closedir(stream_);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  bool ok() const { return stream_ != nullptr; }  // if false: errno says why
  int file() const { return dirfd(stream_); }

  // Appends the entries, by name. Returns false, with errno set, if it cannot be read.
  bool Read(std::vector<DirectoryEntry>& entries) {
    errno = 0;
    while (const dirent* entry = readdir(stream_)) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      struct stat about {};
      if (fstatat(file(), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) return false;
        errno = 0;
        continue;  // removed meanwhile
      }
      entries.push_back({name, S_ISREG(about.st_mode)   ? Kind::kFile
                               : S_ISDIR(about.st_mode) ? Kind::kDirectory
                               : S_ISLNK(about.st_mode) ? Kind::kLink
                                                        : Kind::kOther});
      errno = 0;
    }
    std::sort(entries.begin(), entries.end(),
              [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
    return errno == 0;
  }

 private:
  DIR* stream_ = nullptr;
};

absl::StatusOr<std::vector<DirectoryEntry>> List(const std::string& path, bool follow) {
  Directory directory(path, follow);
  std::vector<DirectoryEntry> entries;
  if (!directory.ok() || !directory.Read(entries)) return SystemError("list", path);
  return entries;
}

}  // namespace

std::string StepDirectory(const std::string& directory, int64_t step) {
  return absl::StrFormat("%s/%s%010d", directory, kStepPrefix, step);
}

std::optional<int64_t> StepOfName(absl::string_view name) {
  absl::string_view digits = name;
  int64_t step = 0;
  if (!absl::ConsumePrefix(&digits, kStepPrefix) || !absl::SimpleAtoi(digits, &step) || step < 0 ||
      absl::StrFormat("%s%010d", kStepPrefix, step) != name) {
    return std::nullopt;
  }
  return step;
}

bool IsTemporaryName(absl::string_view name, absl::string_view base) {
  if (!absl::ConsumePrefix(&name, base) || !absl::ConsumePrefix(&name, kTemporaryMark)) {
    return false;
  }
  const size_t dash = name.find('-');
  return dash != absl::string_view::npos && ParseNumber(name.substr(0, dash)) &&
         ParseNumber(name.substr(dash + 1));
}

bool IsStepFileName(absl::string_view name) {
  return IsCommittedName(name) || IsStepTemporaryName(name);
}

bool IsStepTemporaryName(absl::string_view name) {
  const size_t mark = name.rfind(kTemporaryMark);
  return mark != absl::string_view::npos && IsCommittedName(name.substr(0, mark)) &&
         IsTemporaryName(name, name.substr(0, mark));
}

bool IsAsideName(absl::string_view name) {
  return absl::ConsumePrefix(&name, kAsidePrefix) && ParseNumber(name);
}

absl::StatusOr<std::vector<DirectoryEntry>> ListDirectory(const std::string& directory) {
  return List(directory, /*follow=*/true);
}

absl::StatusOr<std::map<int64_t, std::string>> FindStepDirectories(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, ListDirectory(directory));
  std::map<int64_t, std::string> steps;
  for (const DirectoryEntry& entry : entries) {
    const std::optional<int64_t> step = StepOfName(entry.name);
    if (step && entry.kind == Kind::kDirectory) {
      steps.emplace(*step, absl::StrCat(directory, "/", entry.name));
    }
  }
  return steps;
}

absl::StatusOr<std::vector<std::string>> FindForeign(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, ListDirectory(directory));
  std::vector<std::string> foreign;
  for (const DirectoryEntry& entry : entries) {
    const bool is_file = entry.kind == Kind::kFile;
    const bool is_directory = entry.kind == Kind::kDirectory;
    const bool is_step = is_directory && StepOfName(entry.name).has_value();
    if (!is_step && !(is_directory && IsAsideName(entry.name)) &&
        !(is_file && (entry.name == kClusterName || IsTemporaryName(entry.name, kClusterName)))) {
      foreign.push_back(entry.name);
    }
    if (!is_step) continue;
    const absl::StatusOr<std::vector<DirectoryEntry>> files =
        List(absl::StrCat(directory, "/", entry.name), /*follow=*/false);
    if (!files.ok()) continue;  // opening the checkpoint reports it
    for (const DirectoryEntry& file : *files) {
      if (file.kind == Kind::kFile && IsStepFileName(file.name)) continue;
      foreign.push_back(absl::StrCat(entry.name, "/", file.name));
    }
  }
  return foreign;
}

absl::Status MakeStepDirectory(const std::string& directory, int64_t step) {
  const std::string path = StepDirectory(directory, step);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("cannot create ", directory));
  if (mkdir(path.c_str(), 0777) == 0) return absl::OkStatus();
  if (errno != EEXIST) return SystemError("create", path);
  struct stat about {};
  if (lstat(path.c_str(), &about) != 0) return SystemError("create", path);
  if (S_ISDIR(about.st_mode)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "cannot write into ", path, ": expected a directory or no file, got ",
      S_ISLNK(about.st_mode) ? "a symbolic link" : "another kind of file", "; move it away"));
}

absl::StatusOr<std::vector<std::string>> RemoveFiles(
    const std::string& directory, const std::function<bool(absl::string_view name)>& matches) {
  Directory opened(directory, /*follow=*/false);
  std::vector<DirectoryEntry> entries;
  if (!opened.ok() || !opened.Read(entries)) return SystemError("list", directory);
  std::stable_partition(entries.begin(), entries.end(),
                        [](const DirectoryEntry& entry) { return entry.name == kManifestName; });
  std::vector<std::string> removed;
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != Kind::kFile || !matches(entry.name)) continue;
    if (unlinkat(opened.file(), entry.name.c_str(), 0) == 0) {
      removed.push_back(entry.name);
    } else if (errno != ENOENT) {
      return SystemError("remove", absl::StrCat(directory, "/", entry.name));
    }
  }
  return removed;
}

absl::StatusOr<StepRemoval> RemoveStep(const std::string& directory,
                                       const std::function<bool(absl::string_view name)>& matches) {
  const absl::StatusOr<std::vector<std::string>> removed = RemoveFiles(directory, matches);
  if (absl::IsNotFound(removed.status())) return StepRemoval{true, 0};
  if (!removed.ok()) return removed.status();
  if (rmdir(directory.c_str()) == 0 || errno == ENOENT) return StepRemoval{true, removed->size()};
  if (errno == ENOTEMPTY || errno == EEXIST) return StepRemoval{false, removed->size()};
  return SystemError("remove", directory);
}

}  // namespace percentdelta
