// SPDX-License-Identifier: Apache-2.0

#include "common/transport/shared_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errno_status.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr char kMemoryName[] = "percentdelta";
constexpr size_t kKeyBytes = 16;
constexpr int64_t kHeadBytes = 4096;  // before the values, which begin on a page
constexpr int64_t kMaxValues = (std::numeric_limits<int64_t>::max() - kHeadBytes) / 4;

size_t BytesOf(int64_t values) { return kHeadBytes + values * static_cast<int64_t>(sizeof(float)); }

void* MapAll(int descriptor, int64_t values) {
  return mmap(nullptr, BytesOf(values), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
}

std::string PathOf(const SharedMemoryName& name) {
  return absl::StrCat("/proc/", name.process, "/fd/", name.descriptor);
}

// Opens the path if it has the name that Make() gives: opening anything else might have side
// effects, or block.
absl::StatusOr<UniqueDescriptor> OpenNamed(const std::string& path) {
  const std::string expected = absl::StrCat("/memfd:", kMemoryName, " (deleted)");
  std::array<char, 64> target = {};
  const ssize_t size = readlink(path.c_str(), target.data(), target.size());
  if (size < 0) return ErrnoStatus(errno, "find shared memory", path);
  if (absl::string_view(target.data(), size) != expected) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not shared memory of ours"));
  }
  UniqueDescriptor file(open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file.ok()) return ErrnoStatus(errno, "open shared memory", path);
  return file;
}

// Checks the seal before the size: afterwards, the file cannot shrink. Checks the user on the open
// file: the process may have ended, and its number may be another one's by now.
absl::Status CheckSealed(int file, const std::string& path, int64_t values, struct stat& about) {
  const int seals = fcntl(file, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("shared memory ", path, ": expected a file that cannot shrink"));
  }
  if (fstat(file, &about) != 0) return ErrnoStatus(errno, "look at", path);
  // A process of root, or one that may trace all others, could open those of other users, too.
  if (about.st_uid != geteuid()) {
    return absl::PermissionDeniedError(absl::StrCat("shared memory ", path,
                                                    ": expected one of user ", geteuid(),
                                                    " as this process, got one of user ",
                                                    about.st_uid));
  }
  // Pages of other kinds may be missing when they are touched, which raises a signal.
  struct statfs system {};
  if (fstatfs(file, &system) != 0) return ErrnoStatus(errno, "look at", path);
  if (system.f_type != TMPFS_MAGIC) {
    return absl::InvalidArgumentError(
        absl::StrCat("shared memory ", path, ": expected ordinary pages, got others"));
  }
  if (static_cast<size_t>(about.st_size) == BytesOf(values)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("shared memory ", path, ": expected ",
                                                 BytesOf(values), " bytes, got ", about.st_size));
}

// Exceeding this limit would raise a signal that ends the process.
absl::Status CheckFileLimit(size_t bytes) {
  struct rlimit limit {};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur >= bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("cannot make shared memory of ", bytes,
                                                   " bytes: the limit of files (ulimit -f) is ",
                                                   limit.rlim_cur, " bytes"));
}

}  // namespace

SharedMemory::SharedMemory(SharedMemoryName name, UniqueDescriptor descriptor, uint64_t inode,
                           void* begin, int64_t values)
    : name_(std::move(name)),
      descriptor_(std::move(descriptor)),
      inode_(inode),
      begin_(begin),
      values_(reinterpret_cast<float*>(static_cast<char*>(begin) + kHeadBytes), values) {}

SharedMemory::~SharedMemory() {
  munmap(begin_, BytesOf(static_cast<int64_t>(values_.size())));
}

bool SharedMemory::is_offered() const {
  struct stat about {};
  return stat(PathOf(name_).c_str(), &about) == 0 && about.st_ino == inode_;
}

absl::StatusOr<std::shared_ptr<SharedMemory>> SharedMemory::Make(int64_t values) {
  const size_t bytes = BytesOf(values);
  RETURN_IF_ERROR(CheckFileLimit(bytes));
  std::string key(kKeyBytes, '\0');
  if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    return ErrnoStatus(errno, "cannot draw a key for shared memory");
  }
  UniqueDescriptor file(memfd_create(kMemoryName, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.ok()) return ErrnoStatus(errno, "cannot make shared memory");
  struct stat about {};
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0 || fstat(file.get(), &about) != 0 ||
      fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const int error = errno;
    return ErrnoStatus(error, absl::StrCat("cannot make shared memory of ", bytes, " bytes"));
  }
  void* const begin = MapAll(file.get(), values);
  if (begin == MAP_FAILED) return ErrnoStatus(errno, "cannot map shared memory");
  std::memcpy(begin, key.data(), key.size());
  SharedMemoryName name = {getpid(), file.get(), std::move(key)};
  return std::shared_ptr<SharedMemory>(
      new SharedMemory(std::move(name), std::move(file), about.st_ino, begin, values));
}

absl::StatusOr<std::shared_ptr<SharedMemory>> SharedMemory::Map(const SharedMemoryName& name,
                                                                int64_t values) {
  if (name.process <= 0 || name.descriptor < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("shared memory: expected a process and a descriptor, got ", name.process,
                     " and ", name.descriptor));
  }
  if (name.key.size() != kKeyBytes || values < 0 || values > kMaxValues) {
    return absl::InvalidArgumentError(
        absl::StrCat("shared memory: expected a key of ", kKeyBytes, " bytes and at most ",
                     kMaxValues, " values, got ", name.key.size(), " bytes and ", values));
  }
  const std::string path = PathOf(name);
  ASSIGN_OR_RETURN(const UniqueDescriptor file, OpenNamed(path));  // the mapping outlives it
  struct stat about {};
  RETURN_IF_ERROR(CheckSealed(file.get(), path, values, about));
  void* const begin = MapAll(file.get(), values);
  if (begin == MAP_FAILED) return ErrnoStatus(errno, "cannot map shared memory");
  std::shared_ptr<SharedMemory> memory(
      new SharedMemory(name, UniqueDescriptor(), about.st_ino, begin, values));
  if (std::memcmp(begin, name.key.data(), kKeyBytes) != 0) {
    return absl::InvalidArgumentError(
        "shared memory: expected the key of its name, got another key");
  }
  return memory;
}

}  // namespace percentdelta
