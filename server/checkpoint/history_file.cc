// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/history_file.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/durable_file.h"
#include "common/base/status_macros.h"
#include "common/cluster/progress_proto.h"
#include "common/cluster/statistics_proto.h"
#include "percentdelta/v1/checkpoint.pb.h"

namespace percentdelta {

absl::StatusOr<FileEntry> WriteHistory(const std::string& directory, const History& history,
                                       const FaultPoints& faults) {
  faults.Pass("history");
  v1::History proto;
  for (const ProgressPoint& point : history.training) ToProto(point, *proto.add_training());
  for (const ProgressPoint& point : history.evaluations) ToProto(point, *proto.add_evaluations());
  for (const StepStatistics& step : history.statistics) ToProto(step, *proto.add_statistics());
  proto.set_arithmetic(history.arithmetic);
  proto.set_data(history.data);
  for (const std::string& other : history.other_arithmetic) proto.add_other_arithmetic(other);
  DurableFile file(absl::StrCat(directory, "/", kHistoryName),
                   {faults, nullptr, /*follow_links=*/false});
  RETURN_IF_ERROR(file.Open());
  RETURN_IF_ERROR(file.Write(proto.SerializeAsString()));
  RETURN_IF_ERROR(file.Commit());
  return FileEntry{kHistoryName, file.bytes(), file.sha256()};
}

absl::StatusOr<History> ReadHistory(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kHistoryName);
  ASSIGN_OR_RETURN(const std::string bytes,
                   ReadWholeFile(path, std::numeric_limits<int32_t>::max()));
  v1::History proto;
  if (!proto.ParseFromString(bytes)) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected a percentdelta.v1.History message, got other bytes"));
  }
  History history;
  history.training = PointsFromProto(proto.training());
  history.evaluations = PointsFromProto(proto.evaluations());
  for (const v1::StepStatistics& step : proto.statistics()) {
    history.statistics.push_back(FromProto(step));
  }
  history.arithmetic = proto.arithmetic();
  history.data = proto.data();
  history.other_arithmetic = {proto.other_arithmetic().begin(), proto.other_arithmetic().end()};
  return history;
}

}  // namespace percentdelta
