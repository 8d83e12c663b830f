// SPDX-License-Identifier: Apache-2.0

#include "common/page/page_template.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"

namespace percentdelta {
namespace {

constexpr absl::string_view kData = "\"data\">null<";

// " 'sha256-...'" for each element that begins with `begin`.
std::string HashesOf(absl::string_view begin, absl::string_view end) {
  const absl::string_view page = PageTemplate();
  std::string hashes;
  for (size_t at = page.find(begin); at != absl::string_view::npos; at = page.find(begin, at)) {
    at += begin.size();
    const absl::string_view text = page.substr(at, page.find(end, at) - at);
    const std::string digest = absl::HexStringToBytes(Sha256Hex(text));
    absl::StrAppend(&hashes, " 'sha256-", absl::Base64Escape(digest), "'");
  }
  return hashes;
}

}  // namespace

std::string PageWithData(absl::string_view json) {
  const absl::string_view page = PageTemplate();
  const size_t at = page.find(kData) + kData.size() - sizeof("null<") + 1;
  return absl::StrCat(page.substr(0, at), json, page.substr(at + sizeof("null") - 1));
}

std::string PagePolicy() {
  return absl::StrCat("default-src 'none'; script-src", HashesOf("<script>", "</script>"),
                      "; style-src", HashesOf("<style>", "</style>"),
                      "; connect-src 'self'; base-uri 'none'; form-action 'self'; "
                      "frame-ancestors 'none'");
}

}  // namespace percentdelta
