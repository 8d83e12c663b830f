// How much memory this process may use, as far as the system says.

#ifndef PERCENTDELTA_SERVER_MEMORY_LIMIT_H_
#define PERCENTDELTA_SERVER_MEMORY_LIMIT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace percentdelta {

struct MemoryLimit {
  int64_t bytes = 0;
  std::string name;  // what sets it, for messages: a file, or what `ulimit` calls it
};

// Bytes of a limit of the process (RLIMIT_AS, ...); nothing: unlimited.
std::optional<int64_t> ResourceLimit(int resource);

// Where to look; tests look elsewhere.
struct MemoryLimitSources {
  std::string proc = "/proc";
  std::string cgroups = "/sys/fs/cgroup";
  std::function<std::optional<int64_t>(int resource)> resource_limit = ResourceLimit;
};

// The lowest of
//   memory.max (cgroup v2) and memory.limit_in_bytes (v1) of the process's groups and of those
//   around them, as far as they are visible: a container sees its own as the root;
//   RLIMIT_AS and RLIMIT_DATA;
//   the machine's memory, without swap.
// What cannot be read, or is not a number, is no limit. Nothing: none is known.
std::optional<MemoryLimit> FindMemoryLimit(const MemoryLimitSources& sources = {});

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_MEMORY_LIMIT_H_
