// SPDX-License-Identifier: Apache-2.0

// Certificates for tests, made in milliseconds with keys on a small curve.

#ifndef PERCENTDELTA_TESTS_CERTIFICATES_H_
#define PERCENTDELTA_TESTS_CERTIFICATES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace percentdelta {

// A CA of its own key. All CAs have the same name, so that only signatures tell them apart.
class TestCa {
 public:
  TestCa();
  ~TestCa();

  struct Request {
    std::string uri;  // empty: none
    std::vector<std::string> hosts = {"DNS:localhost", "IP:127.0.0.1"};
    absl::Time not_before = absl::Now() - absl::Hours(1);
    absl::Time not_after = absl::Now() + absl::Hours(1);
  };

  // Writes DIRECTORY/ca.pem.
  void WriteCa(const std::string& directory) const;

  // Writes DIRECTORY/NAME.pem and NAME.key, each at once, as a renewal does.
  void Issue(const std::string& directory, const std::string& name, const Request& request) const;

  // Writes ca.pem, shard-0 ..., worker, operator and viewer: what deploy/tls/make-certs writes.
  void WriteAll(const std::string& directory, int shards) const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

// "spiffe://percentdelta.test/percentdelta/ROLE/NAME".
std::string UriOf(const std::string& role, const std::string& name);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_CERTIFICATES_H_
