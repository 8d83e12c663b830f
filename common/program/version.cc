// SPDX-License-Identifier: Apache-2.0

#include "common/program/version.h"

#include <google/protobuf/stubs/common.h>
#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"

namespace percentdelta {

std::string VersionText(absl::string_view program) {
  return absl::StrCat(program, " ", kVersion, " (revision ", kRevision, ")\ngRPC ", grpc::Version(),
                      ", protobuf ",
                      google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION), "\n");
}

}  // namespace percentdelta
