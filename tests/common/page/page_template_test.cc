// SPDX-License-Identifier: Apache-2.0

#include "common/page/page_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

int Count(absl::string_view text, absl::string_view what) {
  int count = 0;
  for (size_t at = text.find(what); at != absl::string_view::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

TEST(PageTemplateTest, IsOneDocumentWithEverything) {
  const std::string page(PageTemplate());
  EXPECT_THAT(page, HasSubstr("Dygraph"));
  for (const char* placeholder : {"/*PAGE STYLE*/", "/*CHART SCRIPT*/", "/*PAGE SCRIPT*/"}) {
    EXPECT_THAT(page, Not(HasSubstr(placeholder)));
  }
  EXPECT_EQ(Count(page, "<script"), 3);
  EXPECT_EQ(Count(page, "</script>"), 3);
  EXPECT_EQ(Count(page, "<style>"), 1);
  for (const char* outside : {"<link", " src=", "@import", "url(", "sourceMappingURL"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_LT(page.size(), 220000U);
}

TEST(PageTemplateTest, TheDataTakeTheirPlace) {
  const std::string page = PageWithData("{\"a\":1}");
  EXPECT_THAT(page, HasSubstr("id=\"data\">{\"a\":1}</script>"));
  EXPECT_EQ(page.size(), PageTemplate().size() + 3);
}

TEST(PageTemplateTest, ThePolicyNamesEveryScript) {
  const std::string hash = "'sha256-[A-Za-z0-9+/]*='";
  EXPECT_THAT(PagePolicy(), MatchesRegex("default-src 'none'; script-src " + hash + " " + hash +
                                         "; style-src " + hash + "; connect-src 'self'; .*"));
}

}  // namespace
}  // namespace percentdelta
