// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/slice_file.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/safetensors.h"
#include "common/base/status_macros.h"

namespace percentdelta {
namespace {

// Unambiguous, because a tensor's name has no blank.
std::string ArrayName(const TensorSpec& tensor, const std::string& state) {
  return state.empty() ? tensor.name : absl::StrCat(tensor.name, " ", state);
}

std::string RangeText(const TensorSpec& tensor, const TensorRange& slice) {
  return absl::StrCat("[", slice.begin, ", ", slice.end, ") of ", tensor.size());
}

// The names of one slice's tensors in a file: the weights, then the optimizer's arrays.
std::vector<std::string> ArrayNames(const TensorSpec& tensor,
                                    const std::vector<std::string>& state_names) {
  std::vector<std::string> names = {ArrayName(tensor, "")};
  if (tensor.buffer) return names;
  for (const std::string& state : state_names) names.push_back(ArrayName(tensor, state));
  return names;
}

// One shard's file, with its tensors by name.
class SliceFile {
 public:
  static absl::StatusOr<SliceFile> Open(const std::string& path) {
    ASSIGN_OR_RETURN(SafetensorsContent content, ReadSafetensors(path));
    return SliceFile(path, std::move(content));
  }

  // The values of `array` at the entries of `slice`. kDataLoss unless the file has exactly these.
  absl::StatusOr<const std::vector<float>*> Find(const TensorSpec& tensor, const TensorRange& slice,
                                                 const std::string& array) const {
    const auto range = metadata_.find(array);
    const std::string expected = RangeText(tensor, slice);
    const auto found = values_.find(array);
    if (found == values_.end() || range == metadata_.end() || range->second != expected ||
        static_cast<int64_t>(found->second.size()) != slice.size()) {
      return absl::DataLossError(absl::StrCat(path_, ": tensor ", array, ": expected its entries ",
                                              expected, ", got ",
                                              found == values_.end()     ? "none"
                                              : range == metadata_.end() ? "no range"
                                                                         : range->second));
    }
    return &found->second;
  }

 private:
  SliceFile(std::string path, SafetensorsContent content)
      : path_(std::move(path)), metadata_(std::move(content.metadata)) {
    for (SafetensorsTensor& tensor : content.tensors) {
      values_.emplace(std::move(tensor.name), std::move(tensor.values));
    }
  }

  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::vector<float>> values_;
};

// A slice in the making: its arrays, the weights first.
struct Arrays {
  TensorRange range;
  std::vector<std::vector<float>> values;
};

absl::Status CopyOverlap(const SliceFile& file, const TensorSpec& tensor, const TensorRange& source,
                         const std::vector<std::string>& names, Arrays& target) {
  const int64_t begin = std::max(source.begin, target.range.begin);
  const int64_t end = std::min(source.end, target.range.end);
  if (begin >= end) return absl::OkStatus();
  for (size_t i = 0; i < names.size(); ++i) {
    ASSIGN_OR_RETURN(const std::vector<float>* values, file.Find(tensor, source, names[i]));
    std::copy(values->begin() + (begin - source.begin), values->begin() + (end - source.begin),
              target.values[i].begin() + (begin - target.range.begin));
  }
  return absl::OkStatus();
}

// The metadata that identify a shard's file among all files of its name.
std::map<std::string, std::string> IdentityOf(int shard, int shards, int64_t step,
                                              uint64_t generation) {
  return {{"step", absl::StrCat(step)},
          {"shard", absl::StrCat(shard)},
          {"shards", absl::StrCat(shards)},
          {"generation", absl::StrCat(generation)}};
}

bool Overlap(const TensorRange& a, const TensorRange& b) {
  return a.tensor == b.tensor && a.begin < b.end && b.begin < a.end;
}

}  // namespace

std::string SliceFileName(int shard, int shards) {
  return absl::StrFormat("shard-%05d-of-%05d.safetensors", shard, shards);
}

absl::StatusOr<FileEntry> WriteSliceFile(const std::string& directory, int shard, int shards,
                                         const ShardContent& content, const ModelSpec& model,
                                         const std::vector<std::string>& state_names,
                                         const DurableFile::Options& options) {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata =
      IdentityOf(shard, shards, content.step, content.generation);
  for (const SliceContent& slice : content.slices) {
    const TensorSpec& tensor = model.tensors[slice.range.tensor];
    const std::vector<std::string> names = ArrayNames(tensor, state_names);
    for (size_t i = 0; i < names.size(); ++i) {
      const std::vector<float>& values = i == 0 ? *slice.weights : *slice.state[i - 1];
      entries.push_back({names[i], {slice.range.size()}, values});
      metadata[names[i]] = RangeText(tensor, slice.range);
    }
  }
  const std::string name = SliceFileName(shard, shards);
  DurableFile file(absl::StrCat(directory, "/", name), options);
  absl::Status status = WriteSafetensors(file, entries, metadata);
  options.faults.Pass("slice_file");
  if (status.ok()) status = file.Commit();
  if (!status.ok()) return status;
  return FileEntry{name, file.bytes(), file.sha256()};
}

absl::Status CheckSliceFile(const std::string& directory, const FileEntry& file, int shards,
                            int64_t step, uint64_t generation) {
  int shard = 0;
  while (shard < shards && SliceFileName(shard, shards) != file.name) ++shard;
  if (shard == shards) {
    return absl::NotFoundError(absl::StrCat("a shard reported a file \"", absl::CEscape(file.name),
                                            "\": expected one of ", shards, " shards"));
  }
  const std::string path = absl::StrCat(directory, "/", file.name);
  const absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(path);
  std::string reason;
  if (absl::IsNotFound(header.status())) {
    reason = "no such file";
  } else if (absl::IsDataLoss(header.status())) {
    reason = std::string(header.status().message());
  } else if (!header.ok()) {
    return header.status();
  } else if (header->file_bytes != file.bytes) {
    reason = absl::StrCat("expected ", file.bytes, " bytes, got ", header->file_bytes);
  } else {
    for (const auto& [key, value] : IdentityOf(shard, shards, step, generation)) {
      const auto found = header->metadata.find(key);
      if (found != header->metadata.end() && found->second == value) continue;
      reason = absl::StrCat("expected ", key, " ", value, ", got ",
                            found == header->metadata.end() ? "none" : found->second);
    }
  }
  if (reason.empty()) return absl::OkStatus();
  std::error_code error;
  return absl::NotFoundError(absl::StrCat(
      "shard ", shard, " wrote ", file.name, " of step ", step,
      ", but the coordinator does not see it at ", std::filesystem::absolute(path, error).string(),
      " (", reason, "): all servers must see one directory (checkpoint.directory)"));
}

absl::StatusOr<std::vector<SliceContent>> ReadSlices(const std::string& directory, int shards,
                                                     const ModelSpec& model,
                                                     const std::vector<std::string>& state_names,
                                                     const std::vector<TensorRange>& wanted) {
  std::vector<Arrays> targets;
  targets.reserve(wanted.size());
  for (const TensorRange& slice : wanted) {
    const size_t arrays = ArrayNames(model.tensors[slice.tensor], state_names).size();
    targets.push_back(
        {slice, std::vector<std::vector<float>>(arrays, std::vector<float>(slice.size()))});
  }
  const Partition written(model, shards);
  for (int shard = 0; shard < shards; ++shard) {
    const std::vector<TensorRange>& sources = written.ranges_of_shard(shard);
    const bool needed = std::any_of(sources.begin(), sources.end(), [&](const TensorRange& source) {
      return std::any_of(wanted.begin(), wanted.end(),
                         [&](const TensorRange& slice) { return Overlap(source, slice); });
    });
    if (!needed) continue;
    ASSIGN_OR_RETURN(const SliceFile file,
                     SliceFile::Open(absl::StrCat(directory, "/", SliceFileName(shard, shards))));
    for (const TensorRange& source : sources) {
      const TensorSpec& tensor = model.tensors[source.tensor];
      const std::vector<std::string> names = ArrayNames(tensor, state_names);
      for (Arrays& target : targets) {
        if (!Overlap(source, target.range)) continue;
        RETURN_IF_ERROR(CopyOverlap(file, tensor, source, names, target));
      }
    }
  }
  std::vector<SliceContent> contents;
  for (Arrays& target : targets) {
    SliceContent& content = contents.emplace_back();
    content.range = target.range;
    content.weights = std::make_shared<const std::vector<float>>(std::move(target.values.front()));
    for (size_t i = 1; i < target.values.size(); ++i) {
      content.state.push_back(std::make_shared<std::vector<float>>(std::move(target.values[i])));
    }
  }
  return contents;
}

}  // namespace percentdelta
