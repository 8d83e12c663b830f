// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/role_table.h"

#include <algorithm>
#include <iterator>

namespace percentdelta {
namespace {

constexpr bool kYes = true;
constexpr bool kNo = false;

// Names, configuration and weights are the operator's to read; a viewer sees what a training does,
// not what it learns. Identify tells a caller no more than a heartbeat's refusal does, but only
// servers need it.
// clang-format off: it is read as a table.
constexpr RpcRule kTable[] = {
    // path                                                       server worker operator viewer
    {"/percentdelta.v1.Coordinator/GetJob", kNo, kYes, kYes, kYes},
    {"/percentdelta.v1.Coordinator/AcquireLease", kNo, kYes, kNo, kNo},
    {"/percentdelta.v1.Coordinator/CompleteLease", kNo, kYes, kNo, kNo},
    {"/percentdelta.v1.Coordinator/RenewLease", kNo, kYes, kNo, kNo},
    {"/percentdelta.v1.Coordinator/TakeCheckpoint", kNo, kNo, kYes, kNo},
    {"/percentdelta.v1.Coordinator/Pause", kNo, kNo, kYes, kNo},
    {"/percentdelta.v1.Coordinator/Resume", kNo, kNo, kYes, kNo},
    {"/percentdelta.v1.Coordinator/Drain", kNo, kNo, kYes, kNo},
    {"/percentdelta.v1.Coordinator/GetProgress", kNo, kNo, kYes, kYes},
    {"/percentdelta.v1.Coordinator/Heartbeat", kYes, kNo, kNo, kNo},
    {"/percentdelta.v1.Coordinator/ReportStatistics", kYes, kNo, kNo, kNo},
    {"/percentdelta.v1.ParameterServer/Pull", kNo, kYes, kYes, kNo},
    {"/percentdelta.v1.ParameterServer/Push", kNo, kYes, kNo, kNo},
    {"/percentdelta.v1.ParameterServer/ReduceNorms", kYes, kNo, kNo, kNo},
    {"/percentdelta.v1.ParameterServer/Identify", kYes, kNo, kNo, kNo},
    {"/percentdelta.v1.Statistics/GetUpdateStatistics", kNo, kNo, kYes, kYes},
    {"/percentdelta.v1.Statistics/WatchUpdateStatistics", kNo, kNo, kYes, kYes},
    {"/grpc.health.v1.Health/Check", kYes, kYes, kYes, kYes},
    {"/grpc.health.v1.Health/Watch", kYes, kYes, kYes, kYes},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", kNo, kNo, kYes, kYes},
};
// clang-format on

}  // namespace

bool RpcRule::Allows(Role role) const {
  switch (role) {
    case Role::kServer:
      return server;
    case Role::kWorker:
      return worker;
    case Role::kOperator:
      return operator_role;
    case Role::kViewer:
      return viewer;
  }
  return false;
}

absl::Span<const RpcRule> RoleTable() { return kTable; }

bool MayCall(Role role, absl::string_view path) {
  return std::any_of(std::begin(kTable), std::end(kTable),
                     [&](const RpcRule& rule) { return rule.path == path && rule.Allows(role); });
}

}  // namespace percentdelta
