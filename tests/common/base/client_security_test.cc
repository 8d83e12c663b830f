// SPDX-License-Identifier: Apache-2.0

#include "common/base/client_security.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::HasSubstr;

TEST(ClientSecurityTest, PlaintextStaysOnThisMachineUnlessToldOtherwise) {
  const ClientSecurity tls = {{"ca", "cert", "key"}};
  const ClientSecurity token = {{}, "token"};
  const ClientSecurity insecure = {{}, "", true};
  const ClientSecurity insecure_token = {{}, "token", true};
  const struct {
    const char* address;
    const ClientSecurity& security;
    const char* refusal;  // empty: allowed
  } rows[] = {
      {"127.0.0.1:5000", {}, ""},
      {"localhost:5000", {}, ""},
      {"[::1]:5000", {}, ""},
      {"10.0.0.1:5000", {}, "or insecure"},
      {"server:5000", {}, "or insecure"},
      {"10.0.0.1:5000", insecure, ""},
      {"10.0.0.1:5000", tls, ""},
      {"127.0.0.1:5000", token, ""},
      {"10.0.0.1:5000", token, "so that the token"},
      {"10.0.0.1:5000", insecure_token, "so that the token"},
  };
  for (const auto& row : rows) {
    const absl::Status status = CheckSecurityOf("--server", row.address, row.security);
    if (*row.refusal == '\0') {
      EXPECT_OK(status) << row.address;
    } else {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(row.refusal)));
      EXPECT_THAT(status.message(), HasSubstr("--server: "));
    }
  }
}

}  // namespace
}  // namespace percentdelta
