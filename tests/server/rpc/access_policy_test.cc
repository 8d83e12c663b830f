// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/access_policy.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/role_table.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kJob[] = "/percentdelta.v1.Coordinator/GetJob";
constexpr char kToken[] = "a-token-of-some-length";
constexpr char kUri[] = "spiffe://a.test/percentdelta/worker/w";

AccessPolicy MakePolicy() {
  return {"a.test", *TokenTable::Parse("f", absl::StrCat("worker ", HashOfToken(kToken)))};
}

TEST(AccessPolicyTest, KnowsCallersByCertificateOrToken) {
  const AccessPolicy policy = MakePolicy();
  EXPECT_OK(policy.Check({kJob, true, kUri, ""}));
  EXPECT_OK(policy.Check({kJob, false, "", absl::StrCat("Bearer ", kToken)}));
  EXPECT_OK(policy.Check({kJob, true, "", absl::StrCat("bearer  ", kToken, " ")}));
}

TEST(AccessPolicyTest, RefusesCallersThatItDoesNotKnow) {
  const AccessPolicy policy = MakePolicy();
  const AccessPolicy without_tokens("a.test", {});
  const struct {
    const AccessPolicy& policy;
    CallerFacts facts;
    const char* reason;
  } rows[] = {
      {policy, {kJob, false, "", ""}, "neither a certificate nor a token"},
      {without_tokens, {kJob, false, "", ""}, "shows no certificate"},
      {without_tokens, {kJob, false, "", absl::StrCat("Bearer ", kToken)}, "no certificate"},
      {policy, {kJob, true, "", ""}, "got none, or several"},
      {policy, {kJob, true, "spiffe://a.test/x", ""}, "spiffe://DOMAIN"},
      {policy, {kJob, true, "spiffe://b.test/percentdelta/worker/w", ""}, "expected the domain"},
      {policy, {kJob, false, "", "Bearer another-token-of-some-length"}, "not one of this server"},
      {policy, {kJob, false, "", kToken}, "neither a certificate nor a token"},
      {policy, {kJob, false, "", "Bearer "}, "neither a certificate nor a token"},
      {policy, {kJob, false, "", absl::StrCat("Bearer ", kToken, "x")}, "not one of this server"},
      {policy,
       {kJob, false, "", absl::StrCat("Bearer ", HashOfToken(kToken))},
       "not one of this server"},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(row.policy.Check(row.facts),
                StatusIs(absl::StatusCode::kUnauthenticated,
                         AllOf(HasSubstr(row.reason), Not(HasSubstr(kToken)))))
        << row.reason;
  }
}

TEST(AccessPolicyTest, ACertificateCountsMoreThanAToken) {
  const CallerFacts facts = {"/percentdelta.v1.Coordinator/TakeCheckpoint", true, kUri,
                             absl::StrCat("Bearer ", kToken)};
  EXPECT_THAT(MakePolicy().Check(facts), StatusIs(absl::StatusCode::kPermissionDenied,
                                                  HasSubstr("the role worker may not call")));
  EXPECT_EQ(CallerName(facts), kUri);
}

TEST(AccessPolicyTest, RefusesWhatIsNotInTheTable) {
  for (const Role role : kRoles) {
    const std::string uri = absl::StrCat("spiffe://a.test/percentdelta/", RoleName(role), "/x");
    for (const char* path : {"/percentdelta.v1.Coordinator/New", "", "GetJob", "/x\n"}) {
      EXPECT_THAT(MakePolicy().Check({path, true, uri, ""}),
                  StatusIs(absl::StatusCode::kPermissionDenied, Not(HasSubstr("\n"))));
    }
  }
}

TEST(AccessPolicyTest, NamesATokenByItsHash) {
  const std::string name = CallerName({kJob, false, "", absl::StrCat("Bearer ", kToken)});
  EXPECT_THAT(name, AllOf(HasSubstr("token sha256:"), Not(HasSubstr(kToken))));
  EXPECT_EQ(CallerName({kJob, false, "", ""}), "");
}

TEST(AccessPolicyTest, AServerSpeaksForItsOwnShard) {
  constexpr char kServer[] = "spiffe://a.test/percentdelta/server/shard-1";
  EXPECT_OK(CheckSpeaksFor(kServer, 1));
  EXPECT_OK(CheckSpeaksFor("", 1));
  EXPECT_OK(CheckSpeaksFor("token sha256:0123", 1));
  EXPECT_THAT(CheckSpeaksFor(kServer, 0),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("not of shard-0")));
  EXPECT_THAT(CheckSpeaksFor(kUri, 0), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(CheckSpeaksFor("spiffe://a.test/percentdelta/server/first", 0),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(TokenTableTest, TakesRolesAndHashesWithComments) {
  const std::string text = absl::StrCat("# tokens\n\nworker ", HashOfToken("one"), "\n  viewer\t",
                                        HashOfToken("two"), "  # a dashboard\n");
  ASSERT_OK_AND_ASSIGN(const TokenTable table, TokenTable::Parse("f", text));
  EXPECT_EQ(table.Find("one"), Role::kWorker);
  EXPECT_EQ(table.Find("two"), Role::kViewer);
  EXPECT_EQ(table.Find("three"), std::nullopt);
  EXPECT_EQ(table.Find(""), std::nullopt);
}

TEST(TokenTableTest, RefusesOtherLinesWithoutShowingThem) {
  const std::string hash = HashOfToken("one");
  const std::string lines[] = {"worker",
                               "worker secret",
                               "admin " + hash,
                               "worker " + hash + " more",
                               hash + " worker",
                               "worker sha256:12",
                               "worker " + hash.substr(0, 70) + "G"};
  for (const std::string& line : lines) {
    const absl::Status status = TokenTable::Parse("f", "\n" + line).status();
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("token_file: f line 2: "), Not(HasSubstr("secret")))));
  }
  EXPECT_THAT(TokenTable::Parse("f", "# nothing\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at least one token")));
  EXPECT_THAT(TokenTable::Read("/nonexistent/f"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("No such file")));
}

TEST(RoleTableTest, HasEachPathOnce) {
  for (const RpcRule& rule : RoleTable()) {
    int found = 0;
    for (const RpcRule& other : RoleTable()) found += other.path == rule.path ? 1 : 0;
    EXPECT_EQ(found, 1) << rule.path;
  }
}

}  // namespace
}  // namespace percentdelta
