// SPDX-License-Identifier: Apache-2.0

// Checks the options of a server of HTTP.

#ifndef PERCENTDELTA_SERVER_HTTP_HTTP_OPTIONS_H_
#define PERCENTDELTA_SERVER_HTTP_HTTP_OPTIONS_H_

#include <string>

#include "absl/status/status.h"

namespace percentdelta {

// Uses neither files nor the network. Returns kInvalidArgument, naming the option, for an address
// that is not HOST:PORT, or that other machines can reach while there is no token file.
absl::Status CheckHttp(const std::string& listen, const std::string& token_file);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_HTTP_HTTP_OPTIONS_H_
