// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/server_processes.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "common/job/job_codec.h"

namespace percentdelta {
namespace {

std::string AddressOf(const Process& server) {
  if (!server.AwaitOutput("listening address=")) {
    std::fprintf(stderr, "pd-server does not start: %s\n", server.output().c_str());
    std::abort();
  }
  return ListenAddressIn(server.output());
}

}  // namespace

ServerProcesses::ServerProcesses(const Job& job, int shards, int threads) {
  const std::string path = directory() + "/job.textproto";
  WriteFile(path, JobToText(job));
  for (int shard = 0; shard < shards; ++shard) {
    servers_.push_back(std::make_unique<Process>(std::vector<std::string>{
        PD_SERVER, "--listen=127.0.0.1:0", "--job=" + path, "--lease_deadline=1h",
        absl::StrCat("--shard=", shard), absl::StrCat("--shards=", shards),
        "--coordinator=" + coordinator_, absl::StrCat("--threads=", threads)}));
    if (shard == 0) coordinator_ = AddressOf(*servers_.front());
  }
}

}  // namespace percentdelta
