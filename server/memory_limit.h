// SPDX-License-Identifier: Apache-2.0

// How much memory the system lets this process use.

#ifndef PERCENTDELTA_SERVER_MEMORY_LIMIT_H_
#define PERCENTDELTA_SERVER_MEMORY_LIMIT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace percentdelta {

struct MemoryLimit {
  int64_t bytes = 0;
  std::string name;  // its source, for messages: a file, or the name that `ulimit` uses
};

// The process's limit of a resource (RLIMIT_AS, ...) in bytes; nullopt if it is unlimited.
std::optional<int64_t> ResourceLimit(int resource);

// Where limits are read from; tests substitute their own.
struct MemoryLimitSources {
  std::string proc = "/proc";
  std::string cgroups = "/sys/fs/cgroup";
  std::function<std::optional<int64_t>(int resource)> resource_limit = ResourceLimit;
};

// Returns the lowest of
//   memory.max (cgroup v2) and memory.limit_in_bytes (v1) of the process's groups and of their
//   ancestors, as far as they are visible: a container sees its own group as the root;
//   RLIMIT_AS and RLIMIT_DATA;
//   the machine's memory, without swap.
// Ignores limits that cannot be read or parsed. Returns nullopt if none is known.
std::optional<MemoryLimit> FindMemoryLimit(const MemoryLimitSources& sources = {});

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_MEMORY_LIMIT_H_
