// SPDX-License-Identifier: Apache-2.0

#include "common/job/initial_weights_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/descriptors.h"
#include "common/base/errno_status.h"
#include "common/base/float_bytes.h"
#include "common/base/half_float.h"
#include "common/base/safetensors_header.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

// A file that is read once, in order, and hashed as it is read.
class HashedFile {
 public:
  static absl::StatusOr<HashedFile> Open(const std::string& path);

  uint64_t bytes() const { return bytes_; }  // when it was opened

  // Reads up to `size` bytes, all of them unless the file ends. Returns their number.
  absl::StatusOr<size_t> Read(char* bytes, size_t size);

  // The hash of all that was read. Called once, last.
  std::string Hex() { return hash_->Hex(); }

 private:
  HashedFile(std::string path, UniqueDescriptor file, uint64_t bytes)
      : path_(std::move(path)), file_(std::move(file)), bytes_(bytes) {}

  std::string path_;
  UniqueDescriptor file_;
  uint64_t bytes_;
  std::unique_ptr<Sha256> hash_ = std::make_unique<Sha256>();
};

absl::StatusOr<HashedFile> HashedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  UniqueDescriptor file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file.ok()) {
    const absl::Status status = ErrnoStatus(errno, "open", path);
    return absl::Status(
        status.code(), absl::StrCat(status.message(), "; all servers must see it under this name"));
  }
  struct stat about {};
  if (fstat(file.get(), &about) != 0) return ErrnoStatus(errno, "open", path);
  if (!S_ISREG(about.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": expected a file, got ", S_ISDIR(about.st_mode) ? "a directory" : "a device"));
  }
  posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return HashedFile(path, std::move(file), static_cast<uint64_t>(about.st_size));
}

absl::StatusOr<size_t> HashedFile::Read(char* bytes, size_t size) {
  size_t have = 0;
  while (have < size) {
    const ssize_t got = ReadSome(file_, bytes + have, size - have);
    if (got < 0) return ErrnoStatus(errno, "read", path_);
    if (got == 0) break;
    have += got;
  }
  hash_->Update({bytes, have});
  return have;
}

// Reads the header. kDataLoss: it has none that is well-formed.
absl::StatusOr<SafetensorsIndex> ReadIndex(HashedFile& file) {
  const auto malformed = [](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("not a complete safetensors file: ", what));
  };
  uint64_t length = 0;
  ASSIGN_OR_RETURN(size_t got, file.Read(reinterpret_cast<char*>(&length), sizeof(length)));
  if (got < sizeof(length)) return malformed(absl::StrCat("it has only ", got, " bytes"));
  if (length > kMaxSafetensorsHeaderBytes || file.bytes() < sizeof(length) + length) {
    return malformed(absl::StrCat("it has ", file.bytes(), " bytes and says that ", length,
                                  " of them are its header"));
  }
  std::string text(length, '\0');
  ASSIGN_OR_RETURN(got, file.Read(text.data(), length));
  if (got < length) return malformed("it was cut short while it was read");
  absl::StatusOr<SafetensorsIndex> index =
      ParseSafetensorsHeader(text, file.bytes() - sizeof(length) - length);
  if (!index.ok()) return malformed(index.status().message());
  return index;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// "12 others: "a", "b", "c", ...": what the file has instead of the one that it lacks.
std::string OthersOf(const std::vector<SafetensorsPlace>& places) {
  constexpr size_t kShown = 3;
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(kShown, places.size()); ++i) {
    names.push_back(QuotedName(places[i].name));
  }
  return absl::StrCat(places.size(), " others", names.empty() ? "" : ": ",
                      absl::StrJoin(names, ", "), places.size() > kShown ? ", ..." : "");
}

// Checks what the file says of one tensor of the job. `place` is null: it has none.
absl::Status CheckPlace(const TensorSpec& tensor, const SafetensorsPlace* place,
                        const SafetensorsIndex& index) {
  const auto wrong = [&](absl::string_view expected, absl::string_view got) {
    return absl::FailedPreconditionError(
        absl::StrCat("tensor \"", tensor.name, "\": expected ", expected, ", got ", got));
  };
  if (place == nullptr) return wrong("a tensor of that name", OthersOf(index.places));
  if (place->dtype != "F32" && place->dtype != "F16" && place->dtype != "BF16") {
    return wrong("dtype F32, F16 or BF16", absl::StrCat(QuotedName(place->dtype), ": convert it"));
  }
  if (place->shape != tensor.shape) {
    return wrong(absl::StrCat("shape ", ShapeText(tensor.shape)), ShapeText(place->shape));
  }
  return absl::OkStatus();
}

// The values of one range. Their bytes come in order, in pieces that may end within a value.
class RangeReader {
 public:
  // `place` has been checked.
  RangeReader(const TensorRange& range, const SafetensorsPlace& place)
      : begin_entry_(range.begin),
        name_(place.name),
        dtype_(place.dtype),
        entry_bytes_(*BytesOfDtype(place.dtype)),
        begin_(place.begin + range.begin * entry_bytes_),
        end_(place.begin + range.end * entry_bytes_),
        values_(range.size()) {}

  // Takes what belongs to the range of a piece that begins at `offset` in the file's data.
  void Take(uint64_t offset, absl::string_view piece) {
    const uint64_t from = std::max(begin_, offset);
    const uint64_t to = std::min(end_, offset + piece.size());
    if (from >= to) return;
    std::memcpy(raw() + (from - begin_), piece.data() + (from - offset), to - from);
  }

  // Converts and checks what was taken, which must be all.
  absl::StatusOr<std::vector<float>> Finish() {
    if (dtype_ == "F16") Widen(FromFloat16);
    if (dtype_ == "BF16") Widen(FromBfloat16);
    const int64_t bad = FindNonFinite(values_);
    if (bad < 0) return std::move(values_);
    return absl::FailedPreconditionError(
        absl::StrCat("tensor \"", name_, "\": expected finite values, got ", values_[bad],
                     " at entry ", begin_entry_ + bad));
  }

 private:
  // Where the bytes of the file go: the end of the floats' memory.
  char* raw() {
    return reinterpret_cast<char*>(values_.data()) + values_.size() * sizeof(float) -
           (end_ - begin_);
  }

  // In ascending order: a float never overwrites a 16-bit number that has not been read.
  template <typename Convert>
  void Widen(Convert convert) {
    const char* from = raw();
    for (size_t i = 0; i < values_.size(); ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, from + i * sizeof(bits), sizeof(bits));
      values_[i] = convert(bits);
    }
  }

  const int64_t begin_entry_;
  const std::string name_;
  const std::string dtype_;
  const uint64_t entry_bytes_;
  const uint64_t begin_;  // in the file's data
  const uint64_t end_;
  std::vector<float> values_;
};

// Checks every tensor of the job, so that all servers refuse the file for the same reason.
absl::StatusOr<std::vector<RangeReader>> MakeReaders(const SafetensorsIndex& index, const Job& job,
                                                     absl::Span<const TensorRange> ranges) {
  std::map<absl::string_view, const SafetensorsPlace*> places;
  for (const SafetensorsPlace& place : index.places) places[place.name] = &place;
  for (const TensorSpec& tensor : job.model.tensors) {
    const auto found = places.find(tensor.name);
    RETURN_IF_ERROR(CheckPlace(tensor, found == places.end() ? nullptr : found->second, index));
  }
  std::vector<RangeReader> readers;
  readers.reserve(ranges.size());
  for (const TensorRange& range : ranges) {
    readers.emplace_back(range, *places[job.model.tensors[range.tensor].name]);
  }
  return readers;
}

// Reads to the end of the file. Returns the number of bytes.
absl::StatusOr<uint64_t> ReadData(HashedFile& file, std::vector<RangeReader>& readers) {
  std::string piece(kPieceBytes, '\0');
  uint64_t offset = 0;
  while (true) {
    ASSIGN_OR_RETURN(const size_t got, file.Read(piece.data(), piece.size()));
    for (RangeReader& reader : readers) {
      reader.Take(offset, absl::string_view(piece).substr(0, got));
    }
    offset += got;
    if (got < piece.size()) return offset;
  }
}

absl::StatusOr<std::vector<std::vector<float>>> Read(const Job& job,
                                                     absl::Span<const TensorRange> ranges) {
  const InitialWeightsSpec& spec = *job.initial_weights;
  ASSIGN_OR_RETURN(HashedFile file, HashedFile::Open(spec.file));
  std::vector<RangeReader> readers;
  const auto read_header = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const SafetensorsIndex index, ReadIndex(file));
    ASSIGN_OR_RETURN(readers, MakeReaders(index, job, ranges));
    return absl::OkStatus();
  };
  const absl::Status header = read_header();
  RETURN_IF_ERROR(ReadData(file, readers).status());
  if (const std::string hash = file.Hex(); hash != spec.sha256) {
    return absl::FailedPreconditionError(absl::StrCat(
        spec.file, ": expected SHA-256 ", spec.sha256, ", got ", hash,
        ": it is another file, or has changed; use the file that the job means, or put the hash of",
        " this one in the job"));
  }
  std::vector<std::vector<float>> values;
  const auto finish = [&]() -> absl::Status {
    RETURN_IF_ERROR(header);
    for (RangeReader& reader : readers) {
      ASSIGN_OR_RETURN(values.emplace_back(), reader.Finish());
    }
    return absl::OkStatus();
  };
  if (const absl::Status status = finish(); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(spec.file, ": ", status.message()));
  }
  return values;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<float>>> ReadInitialWeights(
    const Job& job, absl::Span<const TensorRange> ranges) {
  absl::StatusOr<std::vector<std::vector<float>>> values = Read(job, ranges);
  if (values.ok()) return values;
  // The system's EINVAL, ENOTDIR or ENAMETOOLONG: a problem on disk, not of the command line.
  const absl::StatusCode code = absl::IsInvalidArgument(values.status())
                                    ? absl::StatusCode::kFailedPrecondition
                                    : values.status().code();
  return absl::Status(code, absl::StrCat("job: initial_weights.file: ", values.status().message()));
}

}  // namespace percentdelta
