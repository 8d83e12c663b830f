// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/durable_file.h"
#include "common/base/errno_status.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "events.out.tfevents.";
constexpr char kSuffix[] = ".percentdelta";
constexpr size_t kLengthBytes = 8;
constexpr size_t kCrcBytes = 4;

std::array<uint32_t, 256> MakeCrcTable() {
  constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected
  constexpr int kBits = 8;
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < kBits; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

// Little-endian.
template <typename T>
std::string ToBytes(T value) {
  std::string bytes(sizeof(T), '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}

template <typename T>
T FromBytes(absl::string_view bytes) {
  T value = 0;
  for (size_t i = sizeof(T); i-- > 0;) value = (value << 8) | static_cast<uint8_t>(bytes[i]);
  return value;
}

absl::Status Failed(absl::string_view action, const std::string& path, int error) {
  return ErrnoStatus(error, absl::StrCat("tensorboard: cannot ", action, " ", path));
}

}  // namespace

uint32_t Crc32c(absl::string_view bytes) {
  static const std::array<uint32_t, 256> kTable = MakeCrcTable();
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes)
    crc = kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

uint32_t MaskedCrc32c(absl::string_view bytes) {
  constexpr uint32_t kDelta = 0xa282ead8;
  const uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + kDelta;
}

std::string ToRecord(absl::string_view bytes) {
  const std::string length = ToBytes(uint64_t{bytes.size()});
  return absl::StrCat(length, ToBytes(MaskedCrc32c(length)), bytes, ToBytes(MaskedCrc32c(bytes)));
}

absl::StatusOr<std::vector<std::string>> FindEventFiles(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (absl::StartsWith(name, kPrefix) && absl::EndsWith(name, kSuffix)) {
      paths.push_back(entry->path().string());
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return Failed("list", directory, error.value());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

absl::Status ReadEvents(const std::string& path,
                        absl::FunctionRef<void(const tensorboard::Event& event)> visit) {
  ASSIGN_OR_RETURN(const std::string bytes,
                   ReadWholeFile(path, std::numeric_limits<int64_t>::max()));
  tensorboard::Event event;
  for (absl::string_view rest = bytes; rest.size() >= kLengthBytes + 2 * kCrcBytes;) {
    const absl::string_view length_bytes = rest.substr(0, kLengthBytes);
    const auto length = FromBytes<uint64_t>(length_bytes);
    if (FromBytes<uint32_t>(rest.substr(kLengthBytes)) != MaskedCrc32c(length_bytes)) break;
    rest.remove_prefix(kLengthBytes + kCrcBytes);
    if (length > rest.size() || rest.size() - length < kCrcBytes) break;
    const absl::string_view data = rest.substr(0, length);
    if (FromBytes<uint32_t>(rest.substr(length)) != MaskedCrc32c(data)) break;
    if (!event.ParseFromArray(data.data(), static_cast<int>(data.size()))) break;
    visit(event);
    rest.remove_prefix(length + kCrcBytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<EventFile> EventFile::Create(const std::string& directory, absl::Time now) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return Failed("create the directory", directory, error.value());
  ASSIGN_OR_RETURN(const std::vector<std::string> existing, FindEventFiles(directory));
  constexpr int kMaxTries = 1000;
  for (int i = 0; i < kMaxTries; ++i) {
    const int64_t micros = absl::ToUnixMicros(now) + i;
    constexpr int64_t kMicros = 1'000'000;
    std::string path = absl::StrFormat("%s/%s%010d.%06d%s", directory, kPrefix, micros / kMicros,
                                       micros % kMicros, kSuffix);
    if (!existing.empty() && path <= existing.back()) {  // the clock went back
      path = absl::StrCat(existing.back().substr(0, existing.back().size() - sizeof(kSuffix) + 1),
                          "~", i, kSuffix);
    }
    const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) return EventFile(path, descriptor);
    if (errno != EEXIST) return Failed("create", path, errno);
  }
  return Failed("create a file in", directory, EEXIST);
}

EventFile::EventFile(EventFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      pending_(std::move(other.pending_)),
      written_(other.written_) {}

EventFile::~EventFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void EventFile::Add(const tensorboard::Event& event) {
  pending_ += ToRecord(event.SerializeAsString());
}

absl::Status EventFile::Flush(bool durably) {
  size_t done = 0;
  while (done < pending_.size()) {
    const ssize_t count = write(descriptor_, pending_.data() + done, pending_.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int error = count < 0 ? errno : ENOSPC;
      if (ftruncate(descriptor_, written_) == 0) lseek(descriptor_, written_, SEEK_SET);
      return Failed("write", path_, error);
    }
    done += static_cast<size_t>(count);
  }
  written_ += static_cast<int64_t>(done);
  pending_.clear();
  if (durably && fdatasync(descriptor_) != 0) return Failed("sync", path_, errno);
  return absl::OkStatus();
}

}  // namespace percentdelta
