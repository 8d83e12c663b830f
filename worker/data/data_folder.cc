// SPDX-License-Identifier: Apache-2.0

#include "worker/data/data_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/data/data_file.h"

namespace percentdelta {
namespace {

// Includes formats that are not read, so that the message can name them (ForeignFormat,
// data_file.h).
constexpr absl::string_view kEndings[] = {"",     ".gz",  ".gzip", ".z",  ".bz2", ".xz",
                                          ".zst", ".zip", ".7z",   ".lz", ".lzma"};

absl::string_view KindName(IdxKind kind) { return kind == IdxKind::kImages ? "images" : "labels"; }
absl::string_view TypeName(IdxKind kind) { return kind == IdxKind::kImages ? "idx3" : "idx1"; }

std::string Join(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();
}

// Returns the names in a folder that are not hidden, ascending; or the system error.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(folder.c_str()), closedir);
  if (directory == nullptr) return ErrnoStatus(folder, errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory.get())) {
    const absl::string_view name = entry->d_name;
    if (name.front() != '.' && name != "__MACOSX") names.emplace_back(name);
  }
  if (errno != 0) return ErrnoStatus(folder, errno);
  std::sort(names.begin(), names.end());
  return names;
}

// Returns the file that the folder stands for.
absl::StatusOr<std::string> FileInFolder(const std::string& folder, DataSplit split, IdxKind kind) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  if (names.size() == 1) return Join(folder, names.front());
  for (const std::string& name : names) {
    if (IsDataFileName(name, split, kind)) return Join(folder, name);
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", folder, "\": is a directory with ",
                                                 names.size(),
                                                 " files, expected one with only this file"));
}

// Adds `path`, if it exists.
void AddCandidate(const std::string& path, DataSplit split, IdxKind kind, Candidates& candidates) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    const int error = errno;
    if (error != ENOENT) {
      candidates.unusable.push_back(ErrnoStatus(path, error));
    } else if (lstat(path.c_str(), &status) == 0) {
      candidates.unusable.push_back(absl::NotFoundError(
          absl::StrCat(ErrnoStatus(path, error).message(), " at the target of the symbolic link")));
    }
    return;
  }
  if (!S_ISDIR(status.st_mode)) {
    candidates.paths.push_back(path);
    return;
  }
  absl::StatusOr<std::string> inside = FileInFolder(path, split, kind);
  if (inside.ok()) {
    candidates.paths.push_back(*std::move(inside));
  } else {
    candidates.unusable.push_back(inside.status());
  }
}

bool IsFolder(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

}  // namespace

std::vector<std::string> UsualNames(DataSplit split, IdxKind kind) {
  std::vector<std::string> names;
  for (const absl::string_view separator : {"-", "."}) {
    for (const absl::string_view ending : {"", ".gz"}) {
      names.push_back(absl::StrCat(split == DataSplit::kTraining ? "train-" : "t10k-",
                                   KindName(kind), separator, TypeName(kind), "-ubyte", ending));
    }
  }
  return names;
}

bool IsDataFileName(absl::string_view name, DataSplit split, IdxKind kind) {
  const std::string lower = absl::AsciiStrToLower(name);
  absl::string_view rest = lower;
  const auto separator = [&rest] {
    if (rest.empty() || !absl::StrContains("-._ ", rest.substr(0, 1))) return false;
    rest.remove_prefix(1);
    return true;
  };
  const bool split_fits = split == DataSplit::kTraining ? absl::ConsumePrefix(&rest, "train")
                                                        : absl::ConsumePrefix(&rest, "t10k") ||
                                                              absl::ConsumePrefix(&rest, "test");
  return split_fits && separator() && absl::ConsumePrefix(&rest, KindName(kind)) && separator() &&
         absl::ConsumePrefix(&rest, TypeName(kind)) && separator() &&
         absl::ConsumePrefix(&rest, "ubyte") &&
         std::find(std::begin(kEndings), std::end(kEndings), rest) != std::end(kEndings);
}

Candidates FindCandidates(const std::string& folder, DataSplit split, IdxKind kind) {
  Candidates candidates;
  const std::vector<std::string> usual = UsualNames(split, kind);
  for (const std::string& name : usual) AddCandidate(Join(folder, name), split, kind, candidates);
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder);
  if (!names.ok()) return candidates;  // a folder can be accessible without being readable
  for (const std::string& name : *names) {
    if (std::find(usual.begin(), usual.end(), name) != usual.end()) continue;
    if (IsDataFileName(name, split, kind)) {
      AddCandidate(Join(folder, name), split, kind, candidates);
    }
  }
  return candidates;
}

absl::Status CheckDataFolder(const std::string& folder) {
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) return ErrnoStatus(folder, errno);
  if (!S_ISDIR(status.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(ErrnoStatus(folder, ENOTDIR).message(),
                                                      ": it is ", FileTypeName(status.st_mode),
                                                      ", expected the folder of the data files"));
  }
  if (faccessat(AT_FDCWD, folder.c_str(), X_OK, AT_EACCESS) != 0) {
    return ErrnoStatus(folder, errno);
  }
  return absl::OkStatus();
}

std::vector<std::string> FoldersOfData(const std::string& folder) {
  std::vector<std::string> folders = {folder};
  for (const char* below : {"raw", "MNIST/raw"}) {
    if (IsFolder(Join(folder, below))) folders.push_back(Join(folder, below));
  }
  const std::string fashion = Join(folder, "FashionMNIST/raw");
  const std::string kuzushiji = Join(folder, "KMNIST/raw");
  if (IsFolder(fashion) != IsFolder(kuzushiji)) {
    folders.push_back(IsFolder(fashion) ? fashion : kuzushiji);
  }
  return folders;
}

}  // namespace percentdelta
