// SPDX-License-Identifier: Apache-2.0

#include "common/base/certificate.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/certificates.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

class CertificateTest : public testing::Test {
 protected:
  CertificateTest() { ca_.WriteAll(directory_.path(), 1); }

  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }

  TestCa ca_;
  TemporaryDirectory directory_;
};

TEST_F(CertificateTest, SaysNamesAndTimes) {
  const absl::Time from = absl::FromUnixSeconds(1'700'000'000);
  const absl::Time until = from + absl::Hours(5);
  ca_.Issue(directory_.path(), "x",
            {UriOf("server", "shard-3"), {"DNS:a.test", "IP:10.0.0.1", "IP:::1"}, from, until});
  ASSERT_OK_AND_ASSIGN(const Certificate certificate, ParseCertificate(Read(path("x.pem"))));
  EXPECT_EQ(certificate.spiffe_id, UriOf("server", "shard-3"));
  EXPECT_THAT(certificate.names, ElementsAre("a.test", "10.0.0.1", "0:0:0:0:0:0:0:1"));
  EXPECT_EQ(certificate.not_before, from);
  EXPECT_EQ(certificate.not_after, until);
}

TEST_F(CertificateTest, HasNoIdentityWithoutExactlyOneUri) {
  ca_.Issue(directory_.path(), "none", {""});
  ca_.Issue(directory_.path(), "two", {UriOf("worker", "a"), {"URI:" + UriOf("operator", "b")}});
  for (const char* name : {"none.pem", "two.pem"}) {
    ASSERT_OK_AND_ASSIGN(const Certificate certificate, ParseCertificate(Read(path(name))));
    EXPECT_EQ(certificate.spiffe_id, "") << name;
  }
}

TEST_F(CertificateTest, IsForItsHostsOnly) {
  const std::string pem = Read(path("shard-0.pem"));
  EXPECT_OK(CheckCertificateName(pem, "localhost"));
  EXPECT_OK(CheckCertificateName(pem, "127.0.0.1"));
  for (const char* other : {"127.0.0.2", "example.test", "::1", "shard-0", ""}) {
    EXPECT_THAT(CheckCertificateName(pem, other),
                StatusIs(absl::StatusCode::kPermissionDenied,
                         AllOf(HasSubstr("localhost, 127.0.0.1"), HasSubstr(other))));
  }
}

TEST_F(CertificateTest, FilesThatBelongTogetherAreAccepted) {
  EXPECT_OK(CheckTlsFiles(TlsFilesIn(directory_.path(), "worker"), true, absl::Now()));
  EXPECT_OK(CheckTlsFiles({path("ca.pem")}, false, absl::Now()));
}

TEST_F(CertificateTest, FilesThatCannotWorkAreNamed) {
  const TestCa other;
  other.Issue(directory_.path(), "foreign", {UriOf("worker", "w")});
  ca_.Issue(directory_.path(), "old",
            {UriOf("worker", "w"), {}, absl::Now() - absl::Hours(2), absl::Now() - absl::Hours(1)});
  ca_.Issue(directory_.path(), "new",
            {UriOf("worker", "w"), {}, absl::Now() + absl::Hours(1), absl::Now() + absl::Hours(2)});
  std::ofstream(path("text.pem")) << "no certificate\n";
  const TlsFiles good = TlsFilesIn(directory_.path(), "worker");
  const struct {
    TlsFiles files;
    std::string option;
    std::string reason;
  } rows[] = {
      {{"", good.cert, good.key}, "tls_ca: ", "expected a PEM file, got nothing"},
      {{good.ca, good.cert, ""}, "tls_key: ", "go together"},
      {{good.ca, "", good.key}, "tls_cert: ", "go together"},
      {{good.ca, "", ""}, "tls_cert: ", "go together"},
      {{path("absent"), good.cert, good.key}, "tls_ca: ", "No such file or directory"},
      {{good.ca, path("absent"), good.key}, "tls_cert: ", "No such file or directory"},
      {{path("text.pem"), good.cert, good.key}, "tls_ca: ", "expected a PEM certificate"},
      {{good.ca, path("text.pem"), good.key}, "tls_cert: ", "expected a PEM certificate"},
      {{good.ca, good.cert, path("text.pem")}, "tls_key: ", "expected an unencrypted PEM"},
      {{good.ca, good.cert, path("viewer.key")}, "tls_key: ", "got another one"},
      {TlsFilesIn(directory_.path(), "foreign"), "tls_cert: ", "has signed"},
      {TlsFilesIn(directory_.path(), "old"), "tls_cert: ", "expired at 20"},
      {TlsFilesIn(directory_.path(), "new"), "tls_cert: ", "not valid before 20"},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(
        CheckTlsFiles(row.files, true, absl::Now()),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(HasSubstr(row.option), HasSubstr(row.reason), Not(HasSubstr("PRIVATE")))))
        << row.reason;
  }
}

}  // namespace
}  // namespace percentdelta
