// SPDX-License-Identifier: Apache-2.0

#include "common/base/role.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(RoleTest, NamesAreUnique) {
  for (const Role role : kRoles) EXPECT_EQ(RoleOf(RoleName(role)), role);
  EXPECT_EQ(RoleOf("Server"), std::nullopt);
  EXPECT_EQ(RoleOf(""), std::nullopt);
}

TEST(RoleTest, ReadsAUri) {
  ASSERT_OK_AND_ASSIGN(const Principal principal,
                       ParsePrincipal("spiffe://a.test/percentdelta/worker/gpu_7"));
  EXPECT_EQ(principal.domain, "a.test");
  EXPECT_EQ(principal.role, Role::kWorker);
  EXPECT_EQ(principal.name, "gpu_7");
  EXPECT_EQ(principal.shard(), std::nullopt);
}

TEST(RoleTest, AServersNameIsItsShard) {
  const auto shard_of = [](const std::string& name) {
    return ParsePrincipal("spiffe://a/percentdelta/server/" + name)->shard();
  };
  EXPECT_EQ(shard_of("shard-0"), 0);
  EXPECT_EQ(shard_of("shard-12"), 12);
  for (const char* other :
       {"shard", "shard-", "shard-01", "shard--1", "shard-1x", "1", "shard-99999999999"}) {
    EXPECT_EQ(shard_of(other), std::nullopt) << other;
  }
  EXPECT_EQ(ParsePrincipal("spiffe://a/percentdelta/worker/shard-0")->shard(), std::nullopt);
}

TEST(RoleTest, RefusesOtherUris) {
  const std::string rows[] = {
      "",
      "https://a/percentdelta/worker/w",
      "spiffe://a/percentdelta/worker",
      "spiffe://a/percentdelta/worker/",
      "spiffe://a/percentdelta/worker/w/x",
      "spiffe:///percentdelta/worker/w",
      "spiffe://a/other/worker/w",
      "spiffe://a/percentdelta/admin/w",
      "spiffe://a/percentdelta/worker/w w",
      "spiffe://a/percentdelta/worker/w\n",
      "spiffe://a/percentdelta/worker/" + std::string(129, 'w'),
      "spiffe://a/percentdelta/worker/w?x",
      "spiffe://" + std::string(3000, 'a') + "/percentdelta/worker/w",
  };
  for (const std::string& uri : rows) {
    const absl::Status status = ParsePrincipal(uri).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("spiffe://DOMAIN/percentdelta/ROLE/NAME")));
    EXPECT_LT(status.message().size(), 500) << uri;
  }
}

TEST(RoleTest, TokensDifferAndAreStoredHashed) {
  ASSERT_OK_AND_ASSIGN(const std::string first, MakeToken());
  ASSERT_OK_AND_ASSIGN(const std::string second, MakeToken());
  EXPECT_NE(first, second);
  EXPECT_GE(first.size(), 43);
  EXPECT_THAT(HashOfToken(first), StartsWith("sha256:"));
  EXPECT_EQ(HashOfToken("abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace percentdelta
