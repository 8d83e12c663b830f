// SPDX-License-Identifier: Apache-2.0

// Which role may call which RPC. The only place that decides it: server/rpc/gatekeeper.h asks it
// for every call, before the call reaches its service. An RPC that is not here is refused.

#ifndef PERCENTDELTA_SERVER_RPC_ROLE_TABLE_H_
#define PERCENTDELTA_SERVER_RPC_ROLE_TABLE_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/role.h"

namespace percentdelta {

struct RpcRule {
  absl::string_view path;  // "/package.Service/Method"
  bool server;
  bool worker;
  bool operator_role;
  bool viewer;

  bool Allows(Role role) const;
};

// All of them.
absl::Span<const RpcRule> RoleTable();

// False for a path that is not in the table.
bool MayCall(Role role, absl::string_view path);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_RPC_ROLE_TABLE_H_
