// SPDX-License-Identifier: Apache-2.0

#include "server/memory_limit.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

constexpr int64_t kMaxBytes = std::numeric_limits<int64_t>::max();

void Lower(std::optional<MemoryLimit>& limit, int64_t bytes, std::string name) {
  if (!limit || bytes < limit->bytes) limit = MemoryLimit{bytes, std::move(name)};
}

// `group` is an absolute path within `root`, as /proc/self/cgroup gives it.
void LowerByGroups(const std::string& root, absl::string_view group, absl::string_view file,
                   std::optional<MemoryLimit>& limit) {
  // If the group is outside the visible tree, only the root, which contains the process, can be
  // read.
  const std::vector<absl::string_view> steps = absl::StrSplit(group, '/', absl::SkipEmpty());
  if (std::find(steps.begin(), steps.end(), "..") != steps.end()) group = "";
  while (true) {
    while (!group.empty() && group.back() == '/') group.remove_suffix(1);
    const std::string path = absl::StrCat(root, group, "/", file);
    std::string text;
    uint64_t bytes = 0;
    if (std::ifstream(path) >> text && absl::SimpleAtoi(text, &bytes)) {
      Lower(limit, static_cast<int64_t>(std::min<uint64_t>(bytes, kMaxBytes)), path);
    }
    if (group.empty()) return;
    group = group.substr(0, group.rfind('/'));
  }
}

void LowerByCgroups(const MemoryLimitSources& sources, std::optional<MemoryLimit>& limit) {
  std::ifstream groups(absl::StrCat(sources.proc, "/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    // hierarchy:controllers:path; in version 2 the hierarchy is 0, and controllers are empty.
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3 || fields[2].empty() || fields[2][0] != '/') continue;
    const std::vector<absl::string_view> controllers = absl::StrSplit(fields[1], ',');
    if (fields[0] == "0" && fields[1].empty()) {
      LowerByGroups(sources.cgroups, fields[2], "memory.max", limit);
    } else if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end()) {
      LowerByGroups(absl::StrCat(sources.cgroups, "/memory"), fields[2], "memory.limit_in_bytes",
                    limit);
    }
  }
}

void LowerByMachine(const MemoryLimitSources& sources, std::optional<MemoryLimit>& limit) {
  const std::string path = absl::StrCat(sources.proc, "/meminfo");
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kib = 0;
    if (fields.size() < 2 || fields[0] != "MemTotal:") continue;
    if (!absl::SimpleAtoi(fields[1], &kib) || kib <= 0 || kib > kMaxBytes / 1024) continue;
    Lower(limit, kib * 1024, absl::StrCat("MemTotal of ", path));
  }
}

}  // namespace

std::optional<int64_t> ResourceLimit(int resource) {
  rlimit limit = {};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<int64_t>(std::min<uint64_t>(limit.rlim_cur, kMaxBytes));
}

std::optional<MemoryLimit> FindMemoryLimit(const MemoryLimitSources& sources) {
  std::optional<MemoryLimit> limit;
  LowerByMachine(sources, limit);
  LowerByCgroups(sources, limit);
  const std::pair<int, const char*> resources[] = {{RLIMIT_AS, "RLIMIT_AS (ulimit -v)"},
                                                   {RLIMIT_DATA, "RLIMIT_DATA (ulimit -d)"}};
  for (const auto& [resource, name] : resources) {
    if (const std::optional<int64_t> bytes = sources.resource_limit(resource)) {
      Lower(limit, *bytes, name);
    }
  }
  return limit;
}

}  // namespace percentdelta
