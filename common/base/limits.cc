// SPDX-License-Identifier: Apache-2.0

#include "common/base/limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <fstream>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"

namespace percentdelta {
namespace {

constexpr uint64_t kUnlimited = uint64_t{1} << 62;  // control groups of version 1 have no "max"

std::string Gibibytes(uint64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

std::string Plain(uint64_t value) { return absl::StrCat(value); }

using Format = std::string (*)(uint64_t value);

void AddResource(std::vector<std::string>& limits, const char* name, int resource, Format format) {
  rlimit limit = {};
  if (getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return;
  if (limit.rlim_cur == RLIM_INFINITY) return;
  limits.push_back(absl::StrCat(name, " ", format(limit.rlim_cur)));
}

// Reads the limit of the process's control group: at its path in the hierarchy, or at the root,
// where a container finds its own group.
void AddControlGroup(std::vector<std::string>& limits, const std::string& controller,
                     const std::string& file, Format format) {
  std::vector<std::string> folders;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (parts[1].empty()) folders.push_back("/sys/fs/cgroup" + parts[2]);
    if (parts[1] == controller) folders.push_back("/sys/fs/cgroup/" + controller + parts[2]);
  }
  folders.push_back("/sys/fs/cgroup");
  folders.push_back("/sys/fs/cgroup/" + controller);
  for (const std::string& folder : folders) {
    std::string text;
    std::ifstream(absl::StrCat(folder, "/", file)) >> text;
    uint64_t value = 0;
    if (!absl::SimpleAtoi(text, &value) || value >= kUnlimited) continue;
    limits.push_back(absl::StrCat(file, " ", format(value)));
    return;
  }
}

std::string Joined(const std::vector<std::string>& limits) {
  return limits.empty() ? "unknown" : absl::StrJoin(limits, ", ");
}

void AddAddressSpace(std::vector<std::string>& limits) {
  AddResource(limits, "RLIMIT_AS (ulimit -v)", RLIMIT_AS, Gibibytes);
}

}  // namespace

std::string ThreadLimits() {
  std::vector<std::string> limits;
  AddResource(limits, "RLIMIT_NPROC (ulimit -u)", RLIMIT_NPROC, Plain);
  AddControlGroup(limits, "pids", "pids.max", Plain);
  AddAddressSpace(limits);
  return Joined(limits);
}

std::string MemoryLimits() {
  std::vector<std::string> limits;
  AddAddressSpace(limits);
  AddResource(limits, "RLIMIT_DATA (ulimit -d)", RLIMIT_DATA, Gibibytes);
  AddControlGroup(limits, "memory", "memory.max", Gibibytes);
  AddControlGroup(limits, "memory", "memory.limit_in_bytes", Gibibytes);
  const long pages = sysconf(_SC_PHYS_PAGES);
  if (pages > 0) {
    limits.push_back(absl::StrCat(
        "this machine ",
        Gibibytes(static_cast<uint64_t>(pages) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)))));
  }
  return Joined(limits);
}

absl::Status CheckThreads(int count) {
  absl::Notification end;
  std::vector<std::thread> threads;
  const auto join = absl::MakeCleanup([&] {
    end.Notify();
    for (std::thread& thread : threads) thread.join();
  });
  try {
    threads.reserve(count);
    while (static_cast<int>(threads.size()) < count) {
      threads.emplace_back([&end] { end.WaitForNotification(); });
    }
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot start the threads that the program needs: expected ", count, ", got ",
                     threads.size(), " (", error.what(), "); limits: ", ThreadLimits()));
  }
  return absl::OkStatus();
}

}  // namespace percentdelta
