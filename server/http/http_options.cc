// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_options.h"

#include "absl/strings/str_cat.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"

namespace percentdelta {

absl::Status CheckHttp(const std::string& listen, const std::string& token_file) {
  ASSIGN_OR_RETURN(const HostPort address, ParseHostPort("http", listen, 0));
  if (IsLoopback(address.host) || !token_file.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("http: ", listen,
                   " can be reached from other machines: expected http_token_file with it, or a "
                   "loopback address such as 127.0.0.1:",
                   address.port, ", got neither"));
}

}  // namespace percentdelta
