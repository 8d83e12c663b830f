// Parameter servers in processes of their own.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_SERVER_PROCESSES_H_
#define PERCENTDELTA_TESTS_BENCHMARK_SERVER_PROCESSES_H_

#include <memory>
#include <string>
#include <vector>

#include "common/job/job.h"
#include "tests/local/process.h"

namespace percentdelta {

// pd-servers over loopback for a job, killed at the end. Not thread-safe; aborts if one does not
// start.
class ServerProcesses {
 public:
  // `threads` of each; 0: one a core.
  ServerProcesses(const Job& job, int shards, int threads);

  const std::string& coordinator() const { return coordinator_; }
  const Process& server(int shard) const { return *servers_[shard]; }

  // For whatever else the processes of a benchmark share.
  const std::string& directory() const { return directory_.path(); }

 private:
  const TemporaryDirectory directory_;
  std::vector<std::unique_ptr<Process>> servers_;
  std::string coordinator_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_SERVER_PROCESSES_H_
