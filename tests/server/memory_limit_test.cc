// SPDX-License-Identifier: Apache-2.0

#include "server/memory_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kGiB = int64_t{1} << 30;

struct Row {
  std::string what;
  std::vector<std::pair<std::string, std::string>> files;  // path within the root; contents
  std::map<int, int64_t> resources;
  int64_t bytes;     // 0: no limit
  std::string name;  // relative to the root, if it is a file
};

TEST(MemoryLimitTest, FindsTheLowestKnownLimit) {
  const std::pair<std::string, std::string> machine = {
      "proc/meminfo", "MemFree: 1 kB\nMemTotal:       8388608 kB\nSwapTotal: 99999999 kB\n"};
  const std::pair<std::string, std::string> version_2 = {"proc/self/cgroup", "0::/a/b\n"};
  const std::pair<std::string, std::string> version_1 = {
      "proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/a/b\n3:pids:/a\n0::/\n"};
  const std::string in_v1 = "cgroup/memory/a/b/memory.limit_in_bytes";
  const Row rows[] = {
      {"nothing is known", {}, {}, 0, ""},
      {"the machine", {machine}, {}, 8 * kGiB, "MemTotal"},
      {"v2",
       {machine, version_2, {"cgroup/a/b/memory.max", "1073741824\n"}},
       {},
       kGiB,
       "cgroup/a/b/memory.max"},
      {"v2, the parent group",
       {machine, version_2, {"cgroup/a/b/memory.max", "max\n"}, {"cgroup/a/memory.max", "4096\n"}},
       {},
       4096,
       "cgroup/a/memory.max"},
      {"v2, the innermost is lower",
       {version_2, {"cgroup/a/b/memory.max", "4096\n"}, {"cgroup/a/memory.max", "8192\n"}},
       {},
       4096,
       "cgroup/a/b/memory.max"},
      {"v2, a container's root",
       {{"proc/self/cgroup", "0::/\n"}, {"cgroup/memory.max", "4096\n"}},
       {},
       4096,
       "cgroup/memory.max"},
      {"v2, a group that is mounted as the root",
       {version_2, {"cgroup/memory.max", "4096\n"}},
       {},
       4096,
       "cgroup/memory.max"},
      {"v2, a group outside",
       {{"proc/self/cgroup", "0::/../c\n"}, {"c/memory.max", "1"}, {"cgroup/memory.max", "4096"}},
       {},
       4096,
       "cgroup/memory.max"},
      {"v2, a colon in a name",
       {{"proc/self/cgroup", "0::/a:b\n"}, {"cgroup/a:b/memory.max", "4096\n"}},
       {},
       4096,
       "cgroup/a:b/memory.max"},
      {"v2, no limit",
       {machine, version_2, {"cgroup/a/b/memory.max", "max\n"}},
       {},
       8 * kGiB,
       "MemTotal"},
      {"v2, not a number",
       {machine, version_2, {"cgroup/a/b/memory.max", "-1 x\n"}},
       {},
       8 * kGiB,
       "MemTotal"},
      {"v2, an empty file",
       {machine, version_2, {"cgroup/a/b/memory.max", ""}},
       {},
       8 * kGiB,
       "MemTotal"},
      {"v1", {machine, version_1, {in_v1, "1073741824\n"}}, {}, kGiB, in_v1},
      {"v1, no limit",
       {machine, version_1, {in_v1, "9223372036854771712\n"}},
       {},
       8 * kGiB,
       "MemTotal"},
      {"v1, more than fits", {version_1, {in_v1, "18446744073709551615\n"}}, {}, INT64_MAX, in_v1},
      {"v1, an ancestor group",
       {version_1, {in_v1, "8192"}, {"cgroup/memory/memory.limit_in_bytes", "4096"}},
       {},
       4096,
       "cgroup/memory/memory.limit_in_bytes"},
      {"v1 and v2",
       {version_1, {in_v1, "8192"}, {"cgroup/memory.max", "4096"}},
       {},
       4096,
       "cgroup/memory.max"},
      {"malformed lines",
       {machine, {"proc/self/cgroup", "\n:\n::\n0:\n0::relative\n7\n"}},
       {},
       8 * kGiB,
       "MemTotal"},
      {"malformed memory",
       {{"proc/meminfo", "MemTotal:\nMemTotal: x kB\nMemTotal: -1 kB\n"}},
       {},
       0,
       ""},
      {"the address space", {machine}, {{RLIMIT_AS, kGiB}}, kGiB, "RLIMIT_AS (ulimit -v)"},
      {"the data",
       {machine},
       {{RLIMIT_AS, 2 * kGiB}, {RLIMIT_DATA, kGiB}},
       kGiB,
       "RLIMIT_DATA (ulimit -d)"},
      {"limits above the machine's", {machine}, {{RLIMIT_AS, 9 * kGiB}}, 8 * kGiB, "MemTotal"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    const TemporaryDirectory directory;
    const std::string& root = directory.path();
    for (const auto& [path, contents] : row.files) {
      const fs::path file = fs::path(root) / path;
      fs::create_directories(file.parent_path());
      std::ofstream(file) << contents;
    }
    MemoryLimitSources sources;
    sources.proc = absl::StrCat(root, "/proc");
    sources.cgroups = absl::StrCat(root, "/cgroup");
    sources.resource_limit = [&](int resource) -> std::optional<int64_t> {
      const auto found = row.resources.find(resource);
      if (found == row.resources.end()) return std::nullopt;
      return found->second;
    };
    const std::optional<MemoryLimit> limit = FindMemoryLimit(sources);
    ASSERT_EQ(limit.has_value(), row.bytes != 0);
    if (!limit) continue;
    EXPECT_EQ(limit->bytes, row.bytes);
    const bool is_file = row.name.rfind("cgroup/", 0) == 0;
    EXPECT_EQ(limit->name, is_file ? absl::StrCat(root, "/", row.name)
                           : row.name == "MemTotal"
                               ? absl::StrCat("MemTotal of ", root, "/proc/meminfo")
                               : row.name);
  }
}

// Uses a resource that the test itself does not need.
TEST(MemoryLimitTest, ReadsTheLimitsOfTheProcess) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_CORE, &before), 0);
  rlimit lowered = before;
  lowered.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_CORE, &lowered), 0);
  EXPECT_EQ(ResourceLimit(RLIMIT_CORE), 0);
  lowered.rlim_cur = before.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_CORE, &lowered), 0);
  if (before.rlim_max == RLIM_INFINITY) {
    EXPECT_EQ(ResourceLimit(RLIMIT_CORE), std::nullopt);
  }
  ASSERT_EQ(setrlimit(RLIMIT_CORE, &before), 0);
}

}  // namespace
}  // namespace percentdelta
