#include "common/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/float_bytes.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

constexpr size_t kAlignment = 8;

absl::Status SystemError(absl::string_view what, const std::string& path) {
  const int error = errno;
  return absl::UnavailableError(
      absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(error)));
}

// A file descriptor that is closed at the end.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(open(path.c_str(), flags, 0644)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool ok() const { return fd_ >= 0; }
  bool Sync() const { return fsync(fd_) == 0; }
  bool Write(absl::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return false;
      bytes.remove_prefix(written);
    }
    return true;
  }

 private:
  const int fd_;
};

absl::StatusOr<std::string> MakeHeader(const std::vector<SafetensorsEntry>& entries,
                                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    uint64_t size = 1;
    for (const int64_t dimension : entry.shape) size *= dimension;
    if (size != entry.values.size() || header.contains(entry.name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", entry.name, ": expected one of ", size, " values, got ",
                       header.contains(entry.name) ? "a second" : "one", " of ",
                       entry.values.size()));
    }
    const uint64_t end = offset + size * sizeof(float);
    header[entry.name] = {
        {"dtype", "F32"}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text =
      header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  while (text.size() % kAlignment != 0) text.push_back(' ');
  return text;
}

absl::Status WriteAll(const std::string& path, const std::string& header,
                      const std::vector<SafetensorsEntry>& entries) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
  if (!file.ok()) return SystemError("create", path);
  const uint64_t length = header.size();  // little-endian, as this machine is (float_bytes.h)
  bool written = file.Write({reinterpret_cast<const char*>(&length), sizeof(length)}) &&
                 file.Write(header);
  for (const SafetensorsEntry& entry : entries) {
    written = written && file.Write(AsBytes(entry.values));
  }
  if (!written || !file.Sync()) return SystemError("write", path);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteSafetensors(const std::string& path,
                              const std::vector<SafetensorsEntry>& entries,
                              const std::map<std::string, std::string>& metadata) {
  const absl::StatusOr<std::string> header = MakeHeader(entries, metadata);
  if (!header.ok()) return header.status();
  const std::string temporary = absl::StrCat(path, ".tmp");
  absl::Status status = WriteAll(temporary, *header, entries);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    status = SystemError("replace", path);
  }
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  // Of an absolute path: that of a bare name would be empty.
  const std::string directory = std::filesystem::absolute(path).parent_path().string();
  const Descriptor opened(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!opened.ok() || !opened.Sync()) return SystemError("sync", directory);
  return absl::OkStatus();
}

}  // namespace percentdelta
