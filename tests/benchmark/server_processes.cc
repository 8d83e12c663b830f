// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/server_processes.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/certificate.h"
#include "common/job/job_codec.h"
#include "tests/certificates.h"

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

ServerProcesses::ServerProcesses(const Job& job, int shards, int threads, bool tls) : tls_(tls) {
  const std::string path = directory() + "/job.textproto";
  WriteFile(path, JobToText(job));
  if (tls) TestCa().WriteAll(directory(), shards);
  for (int shard = 0; shard < shards; ++shard) {
    std::vector<std::string> command = {PD_SERVER,
                                        "--listen=127.0.0.1:0",
                                        "--job=" + path,
                                        "--lease_deadline=1h",
                                        absl::StrCat("--shard=", shard),
                                        absl::StrCat("--shards=", shards),
                                        "--coordinator=" + coordinator_,
                                        absl::StrCat("--threads=", threads)};
    for (std::string& flag : TlsFlags(absl::StrCat("shard-", shard))) {
      command.push_back(std::move(flag));
    }
    servers_.push_back(std::make_unique<Process>(command));
    if (shard == 0) coordinator_ = AddressOf(*servers_.front());
  }
}

std::vector<std::string> ServerProcesses::TlsFlags(const std::string& name) const {
  if (!tls_) return {};
  const TlsFiles files = TlsFilesIn(directory(), name);
  return {"--tls_ca=" + files.ca, "--tls_cert=" + files.cert, "--tls_key=" + files.key};
}

std::shared_ptr<const ClientCredentials> ServerProcesses::Credentials(
    const std::string& name) const {
  if (!tls_) return nullptr;
  absl::StatusOr<std::shared_ptr<const ClientCredentials>> made =
      ClientCredentials::Make({TlsFilesIn(directory(), name)});
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.status().ToString().c_str());
    std::abort();
  }
  return *std::move(made);
}

}  // namespace percentdelta
