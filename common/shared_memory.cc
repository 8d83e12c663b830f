#include "common/shared_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

constexpr size_t kKeyBytes = 16;
constexpr int64_t kHeadBytes = 4096;  // before the values, which begin on a page
constexpr int64_t kMostValues = (std::numeric_limits<int64_t>::max() - kHeadBytes) / 4;

absl::Status SystemError(absl::string_view what) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what));
}

size_t BytesOf(int64_t values) { return kHeadBytes + values * static_cast<int64_t>(sizeof(float)); }

void* MapAll(int descriptor, int64_t values) {
  return mmap(nullptr, BytesOf(values), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
}

// What is behind the name, opened without side effects: -1 and a status if it cannot be ours.
absl::StatusOr<int> OpenSealed(const SharedMemoryName& name, int64_t values) {
  const std::string path = absl::StrCat("/proc/", name.process, "/fd/", name.descriptor);
  const int place = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (place < 0) return SystemError(absl::StrCat("find shared memory ", path));
  const absl::Cleanup close_place = [place] { close(place); };
  struct stat about {};
  struct statfs file_system {};
  if (fstat(place, &about) != 0 || fstatfs(place, &file_system) != 0) {
    return SystemError(absl::StrCat("look at ", path));
  }
  if (!S_ISREG(about.st_mode) || file_system.f_type != TMPFS_MAGIC) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no shared memory"));
  }
  if (static_cast<size_t>(about.st_size) != BytesOf(values)) {
    return absl::InvalidArgumentError(absl::StrCat("shared memory ", path, ": expected ",
                                                   BytesOf(values), " bytes, got ", about.st_size));
  }
  const int file = open(absl::StrCat("/proc/self/fd/", place).c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return SystemError(absl::StrCat("open shared memory ", path));
  const int seals = fcntl(file, F_GET_SEALS);
  if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0) return file;
  close(file);
  return absl::InvalidArgumentError(
      absl::StrCat("shared memory ", path, ": expected one that cannot shrink"));
}

}  // namespace

SharedMemory::SharedMemory(SharedMemoryName name, int descriptor, void* begin, int64_t values)
    : name_(std::move(name)),
      descriptor_(descriptor),
      begin_(begin),
      values_(reinterpret_cast<float*>(static_cast<char*>(begin) + kHeadBytes), values) {}

SharedMemory::~SharedMemory() {
  munmap(begin_, BytesOf(static_cast<int64_t>(values_.size())));
  if (descriptor_ >= 0) close(descriptor_);
}

absl::StatusOr<std::shared_ptr<SharedMemory>> SharedMemory::Make(int64_t values) {
  std::string key(kKeyBytes, '\0');
  if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    return SystemError("draw a key for shared memory");
  }
  const int file = memfd_create("percentdelta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return SystemError("make shared memory");
  absl::Cleanup close_file = [file] { close(file); };
  if (ftruncate(file, static_cast<off_t>(BytesOf(values))) != 0 ||
      fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return SystemError(absl::StrCat("make shared memory of ", BytesOf(values), " bytes"));
  }
  void* const begin = MapAll(file, values);
  if (begin == MAP_FAILED) return SystemError("map shared memory");
  std::memcpy(begin, key.data(), key.size());
  std::move(close_file).Cancel();
  return std::shared_ptr<SharedMemory>(
      new SharedMemory({getpid(), file, std::move(key)}, file, begin, values));
}

absl::StatusOr<std::shared_ptr<SharedMemory>> SharedMemory::Map(const SharedMemoryName& name,
                                                                int64_t values) {
  if (name.key.size() != kKeyBytes || values < 0 || values > kMostValues) {
    return absl::InvalidArgumentError(absl::StrCat("shared memory: expected a key of ", kKeyBytes,
                                                   " bytes, got ", name.key.size()));
  }
  const absl::StatusOr<int> file = OpenSealed(name, values);
  if (!file.ok()) return file.status();
  void* const begin = MapAll(*file, values);
  const absl::Status status =
      begin == MAP_FAILED ? SystemError("map shared memory") : absl::OkStatus();
  close(*file);  // the mapping stays
  if (!status.ok()) return status;
  std::shared_ptr<SharedMemory> memory(new SharedMemory(name, -1, begin, values));
  if (std::memcmp(begin, name.key.data(), kKeyBytes) != 0) {
    return absl::InvalidArgumentError("shared memory: what is there has another key");
  }
  return memory;
}

}  // namespace percentdelta
