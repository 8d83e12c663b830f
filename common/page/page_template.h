// SPDX-License-Identifier: Apache-2.0

// The page of a training: one self-contained HTML document. Its source is page.html, page.css and
// the scripts next to this file; the build embeds them, together with the chart library.

#ifndef PERCENTDELTA_COMMON_PAGE_PAGE_TEMPLATE_H_
#define PERCENTDELTA_COMMON_PAGE_PAGE_TEMPLATE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace percentdelta {

// The document, with the literal "null" as its data: it then asks the server that it comes from.
absl::string_view PageTemplate();

// The document with this data, as JSON without "<" (page_json.h): a page that uses no server.
std::string PageWithData(absl::string_view json);

// A Content-Security-Policy that lets the document's own scripts and style work, and nothing else:
// no other script, no connection but to the server that it comes from, no frame around it.
std::string PagePolicy();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PAGE_PAGE_TEMPLATE_H_
