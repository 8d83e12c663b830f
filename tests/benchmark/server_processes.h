// SPDX-License-Identifier: Apache-2.0

// Parameter servers in their own processes.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_SERVER_PROCESSES_H_
#define PERCENTDELTA_TESTS_BENCHMARK_SERVER_PROCESSES_H_

#include <memory>
#include <string>
#include <vector>

#include "common/job/job.h"
#include "common/transport/credentials.h"
#include "tests/local/process.h"

namespace percentdelta {

// pd-servers over loopback for a job. Not thread-safe. The constructor aborts if a server does not
// start; the destructor kills them.
class ServerProcesses {
 public:
  // `threads`: of each server; 0 means one per core. `tls`: with mTLS, on certificates of their
  // own.
  ServerProcesses(const Job& job, int shards, int threads, bool tls = false);

  const std::string& coordinator() const { return coordinator_; }
  const Process& server(int shard) const { return *servers_[shard]; }

  // The flags of a process with the certificate of this name ("worker", "viewer"); none without
  // TLS.
  std::vector<std::string> TlsFlags(const std::string& name) const;

  // The credentials of a client with this certificate; null without TLS.
  std::shared_ptr<const ClientCredentials> Credentials(const std::string& name) const;

  // A temporary directory for files that the processes of a benchmark share.
  const std::string& directory() const { return directory_.path(); }

 private:
  const bool tls_;
  const TemporaryDirectory directory_;
  std::vector<std::unique_ptr<Process>> servers_;
  std::string coordinator_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_SERVER_PROCESSES_H_
