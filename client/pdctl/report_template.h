// SPDX-License-Identifier: Apache-2.0

// The page of a report (report_template.html), with the literal /*DATA*/null in place of the data.

#ifndef PERCENTDELTA_CLIENT_PDCTL_REPORT_TEMPLATE_H_
#define PERCENTDELTA_CLIENT_PDCTL_REPORT_TEMPLATE_H_

#include "absl/strings/string_view.h"

namespace percentdelta {

absl::string_view ReportTemplate();

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_REPORT_TEMPLATE_H_
