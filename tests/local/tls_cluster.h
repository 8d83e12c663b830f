// SPDX-License-Identifier: Apache-2.0

// Servers with certificates, and their callers, for the tests of TLS and of roles.

#ifndef PERCENTDELTA_TESTS_LOCAL_TLS_CLUSTER_H_
#define PERCENTDELTA_TESTS_LOCAL_TLS_CLUSTER_H_

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cluster.h"
#include "common/base/certificate.h"
#include "common/base/log.h"
#include "common/transport/credentials.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/certificates.h"
#include "tests/temporary_directory.h"

namespace percentdelta {

// A directory with the certificates of two shards, and a log that the test can read.
class TlsTest : public testing::Test {
 protected:
  TlsTest();
  ~TlsTest() override;

  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  TlsFiles files(const std::string& name) const { return TlsFilesIn(directory_.path(), name); }

  // What the servers have logged.
  std::string log() const;

  // Options of shard 0 of a small job, which is alone; with its certificate.
  Server::Options ServerOptions() const;

  Server Start(Server::Options options) const;

  // The credentials of a process with this certificate.
  std::shared_ptr<const ClientCredentials> Credentials(const std::string& name) const;

  // A client with this certificate.
  std::unique_ptr<Cluster> ClientOf(const Server& server, const std::string& name) const;

  // A channel with this certificate that shares its connection with no other.
  std::shared_ptr<grpc::Channel> OwnConnection(const Server& server, const std::string& name) const;

  // Pulls the first weights of a server that is alone, and offers memory for them. Returns how many
  // shards used it (0 or 1): the values came over the connection otherwise.
  static int PullOfferingMemory(const Server& server,
                                const std::shared_ptr<const ClientCredentials>& credentials);

  // Calls an RPC by its path with an empty request. An RPC that has not ended after `deadline` is
  // cancelled.
  static grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                           absl::Duration deadline = absl::Seconds(10));

  // Calls `condition` until it returns true; fails the test after 30 s.
  template <typename Condition>
  static void Await(const Condition& condition) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (!condition()) {
      ASSERT_LT(absl::Now(), give_up) << "waited for too long";
      absl::SleepFor(absl::Milliseconds(5));
    }
  }

  TestCa ca_;
  TemporaryDirectory directory_;
  const Logger log_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_LOCAL_TLS_CLUSTER_H_
