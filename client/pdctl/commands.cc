// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/commands.h"

#include <fcntl.h>
#include <grpcpp/client_context.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/pdctl/export.h"
#include "client/pdctl/progress_format.h"
#include "client/pdctl/report.h"
#include "client/pdctl/statistics_format.h"
#include "client/pdctl/status_format.h"
#include "common/base/clock.h"
#include "common/base/descriptors.h"
#include "common/base/errno_status.h"
#include "common/base/pause.h"
#include "common/base/role.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/job/job_codec.h"
#include "common/transport/channel.h"
#include "common/transport/deadline.h"
#include "common/transport/grpc_status.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxRowBytes = 4000;
constexpr absl::Duration kCheckpointPoll = absl::Milliseconds(50);

// Adds what the user can do about a server that does not answer.
absl::Status WithAdvice(const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  return absl::Status(status.code(),
                      absl::StrCat(status.message(),
                                   ". Is pd-server running there? Give another address with "
                                   "--server=HOST:PORT."));
}

struct ClusterWeights {
  ClusterInfo info;
  Weights weights;
};

absl::StatusOr<ClusterWeights> PullNewest(const Cluster& cluster) {
  absl::StatusOr<ClusterInfo> info = cluster.GetJob();
  if (!info.ok()) return WithAdvice(info.status());
  absl::StatusOr<Weights> weights = cluster.PullWeights(*info);
  if (absl::IsUnavailable(weights.status()) || absl::IsDeadlineExceeded(weights.status())) {
    return absl::Status(weights.status().code(),
                        absl::StrCat(weights.status().message(),
                                     ". From outside the cluster's network, give the addresses"
                                     " that reach its shards with --connect_to (see --help)."));
  }
  if (!weights.ok()) return weights.status();
  return ClusterWeights{*std::move(info), *std::move(weights)};
}

// What follows a checksum on its line.
std::string NoteOf(const Job& job) {
  return job.any_arithmetic ? absl::StrCat("  ", kAnyArithmeticNote) : "";
}

std::string FormatSteps(const std::vector<StepStatistics>& steps, Format format) {
  switch (format) {
    case Format::kJson:
      return FormatJson(steps);
    case Format::kCsv:
      return FormatCsv(steps);
    case Format::kTable:
      return FormatTable(steps);
  }
  return "";  // not reached
}

}  // namespace

absl::Status ShowStatus(const Cluster& cluster, Format format, std::ostream& out) {
  if (format == Format::kCsv)
    return absl::InvalidArgumentError("status: expected --format=table or json, got csv");
  const absl::StatusOr<Progress> progress = cluster.GetProgress();
  if (!progress.ok()) return WithAdvice(progress.status());
  out << (format == Format::kJson ? StatusJson(*progress) : StatusTable(*progress));
  return absl::OkStatus();
}

absl::Status ShowProgress(const Cluster& cluster, std::optional<int64_t> last, Format format,
                          std::ostream& out) {
  absl::StatusOr<Progress> progress = cluster.GetProgress();
  if (!progress.ok()) return WithAdvice(progress.status());
  if (last) KeepLastSteps(*last, *progress);
  switch (format) {
    case Format::kJson:
      out << ProgressJson(*progress);
      break;
    case Format::kCsv:
      out << ProgressCsv(*progress);
      break;
    case Format::kTable:
      out << (progress->training.empty() && progress->evaluations.empty()
                  ? "no step is finished yet\n"
                  : ProgressTable(*progress));
      break;
  }
  return absl::OkStatus();
}

absl::Status TakeCheckpoint(const Cluster& cluster, absl::Duration timeout, std::ostream& out) {
  const absl::StatusOr<Progress> initial = cluster.GetProgress();
  if (!initial.ok()) return WithAdvice(initial.status());
  const absl::StatusOr<int64_t> at_least = cluster.TakeCheckpoint();
  if (!at_least.ok()) return WithAdvice(at_least.status());
  const SteadyClock clock;
  Pause pause;
  const absl::Duration give_up = clock.Now() + timeout;
  while (true) {
    const absl::StatusOr<Progress> progress = cluster.GetProgress(initial->max_steps);
    if (!progress.ok()) return WithAdvice(progress.status());
    const CheckpointProgress checkpoint = progress->checkpoint.value_or(CheckpointProgress());
    if (checkpoint.step >= *at_least) {
      out << "checkpoint  step " << checkpoint.step << "\n";
      return absl::OkStatus();
    }
    if (initial->checkpoint && checkpoint.failures > initial->checkpoint->failures) {
      return absl::AbortedError(absl::StrCat("the checkpoint failed: ", checkpoint.error));
    }
    if (clock.Now() > give_up) {
      return absl::DeadlineExceededError(absl::StrCat(
          "no checkpoint of step ", *at_least, " or later within ", absl::FormatDuration(timeout),
          "; the training is at step ", progress->step, ", with ", progress->workers,
          " workers. It is still requested: pdctl status shows when it is complete"));
    }
    pause.Take(kCheckpointPoll);
  }
}

absl::Status PauseTraining(const Cluster& cluster, std::ostream& out) {
  RETURN_IF_ERROR(WithAdvice(cluster.Pause()));
  const absl::StatusOr<Progress> progress =
      cluster.GetProgress(std::numeric_limits<int32_t>::max());
  if (!progress.ok()) return WithAdvice(progress.status());
  out << "paused  step " << progress->step << "\n";
  return absl::OkStatus();
}

absl::Status ResumeTraining(const Cluster& cluster, std::ostream& out) {
  RETURN_IF_ERROR(WithAdvice(cluster.Resume()));
  out << "resumed\n";
  return absl::OkStatus();
}

absl::Status DrainCluster(const Cluster& cluster, absl::Duration timeout, std::ostream& out) {
  RETURN_IF_ERROR(WithAdvice(cluster.Drain().status()));
  const SteadyClock clock;
  Pause pause;
  const absl::Duration give_up = clock.Now() + timeout;
  std::optional<int64_t> drained;  // the checkpoint's step
  while (true) {
    const absl::StatusOr<Progress> progress =
        cluster.GetProgress(std::numeric_limits<int32_t>::max());
    if (!progress.ok()) {
      if (!drained) return WithAdvice(progress.status());
      if (absl::IsUnavailable(progress.status())) break;  // the coordinator has ended
    } else if (progress->state == TrainingState::kDrained) {
      if (!drained) out << "checkpoint  step " << progress->step << "\n" << std::flush;
      drained = progress->step;
    } else if (drained) {
      break;  // the servers were started again
    } else if (progress->state != TrainingState::kDraining &&
               progress->state != TrainingState::kGathering) {
      return absl::AbortedError(
          absl::StrCat("the drain was abandoned: ",
                       progress->checkpoint && !progress->checkpoint->error.empty()
                           ? absl::StrCat("its checkpoint failed: ", progress->checkpoint->error)
                           : "another operator resumed the training",
                       "; the training is ", ToString(progress->state)));
    }
    if (clock.Now() > give_up) {
      return absl::DeadlineExceededError(absl::StrCat(
          drained ? "the checkpoint is complete, but the coordinator has not ended within "
                  : "the cluster is not drained within ",
          absl::FormatDuration(timeout), progress.ok() ? ": " : "",
          progress.ok() ? progress->message : "",
          ". It is still draining: pdctl status shows how far it is, pdctl resume abandons it"));
    }
    pause.Take(kCheckpointPoll);
  }
  out << "drained  step " << *drained << "\n";
  return absl::OkStatus();
}

absl::Status ShowStatistics(const Cluster& cluster, const std::string& layer, int last,
                            Format format, std::ostream& out) {
  StatisticsQuery query;
  query.layer = layer;
  query.last = last;
  const absl::StatusOr<std::vector<StepStatistics>> steps = cluster.GetUpdateStatistics(query);
  if (!steps.ok()) return WithAdvice(steps.status());
  if (steps->empty() && format == Format::kTable) {
    out << "no step is finished yet\n";
  } else {
    out << FormatSteps(*steps, format);
  }
  return absl::OkStatus();
}

absl::Status WatchStatistics(const Cluster& cluster, const std::string& layer, int last,
                             Format format, std::ostream& out) {
  bool first = true;
  const absl::Status status =
      cluster.WatchUpdateStatistics(layer, last, [&](const StepStatistics& step, int64_t skipped) {
        switch (format) {
          case Format::kTable:
            if (skipped > 0) out << "        (" << skipped << " steps skipped)\n";
            out << FormatTable({step}, first);
            break;
          case Format::kJson:
            out << FormatJsonLine(step);
            break;
          case Format::kCsv:
            out << FormatCsv({step}, first);
            break;
        }
        first = false;
        out.flush();
        return out.good();
      });
  return WithAdvice(status);
}

absl::Status ShowChecksum(const Cluster& cluster, std::ostream& out) {
  ASSIGN_OR_RETURN(const ClusterWeights newest, PullNewest(cluster));
  out << ChecksumOf(newest.weights) << "  step " << newest.weights.step << NoteOf(newest.info.job)
      << "\n";
  return absl::OkStatus();
}

absl::Status ExportToFile(const Cluster& cluster, const std::string& path, std::ostream& out) {
  ASSIGN_OR_RETURN(const ClusterWeights newest, PullNewest(cluster));
  RETURN_IF_ERROR(ExportWeights(path, newest.info, newest.weights));
  out << path << "  step " << newest.weights.step << "  " << newest.weights.values.size()
      << " tensors  " << ChecksumOf(newest.weights) << NoteOf(newest.info.job) << "\n";
  return absl::OkStatus();
}

absl::Status ReportToDirectory(const Cluster& cluster, const std::string& directory,
                               std::ostream& out) {
  RETURN_IF_ERROR(PrepareReport(directory));
  ASSIGN_OR_RETURN(const ClusterWeights newest, PullNewest(cluster));
  ReportData report;
  report.job = newest.info.job;
  report.weights_sha256 = ChecksumOf(newest.weights);
  ASSIGN_OR_RETURN(report.progress, cluster.GetProgress());
  ASSIGN_OR_RETURN(report.statistics, cluster.GetUpdateStatistics({}));
  RETURN_IF_ERROR(WriteReport(directory, report));
  out << directory << "/report.html  step " << newest.weights.step << "\n";
  return absl::OkStatus();
}

absl::Status ShowJob(const Cluster& cluster, std::ostream& out) {
  const absl::StatusOr<ClusterInfo> info = cluster.GetJob();
  if (!info.ok()) return WithAdvice(info.status());
  out << "# " << EscapeForLog(info->job_hash, kMaxRowBytes) << "\n" << JobToText(info->job);
  return absl::OkStatus();
}

absl::Status ShowHealth(const std::string& address, absl::Duration deadline,
                        const std::shared_ptr<const ClientCredentials>& credentials,
                        std::ostream& out) {
  const auto stub = grpc::health::v1::Health::NewStub(MakeChannel(address, credentials));
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, {}, &response);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return absl::UnimplementedError(
        absl::StrCat("the server at ", address, " has no health service: it is not a pd-server"));
  }
  if (!status.ok()) {
    absl::Status failure = ExplainUnavailable(FromGrpc(status), address, credentials);
    if (absl::IsPermissionDenied(failure) || absl::IsUnauthenticated(failure)) return failure;
    return WithAdvice(absl::UnavailableError(
        absl::StrCat("no server answers at ", address, " (", failure.message(), ")")));
  }
  const std::string& name =
      grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  if (response.status() != grpc::health::v1::HealthCheckResponse::SERVING) {
    return absl::FailedPreconditionError(
        absl::StrCat("the server at ", address, " reports the state ", name));
  }
  out << name << "\n";
  return absl::OkStatus();
}

absl::Status MakeTokenFile(const std::string& role, const std::string& path, std::ostream& out) {
  if (!RoleOf(role)) {
    return absl::InvalidArgumentError(
        absl::StrCat("token: expected the role server, worker, operator or viewer, got \"",
                     EscapeForLog(role, kMaxRowBytes), "\""));
  }
  ASSIGN_OR_RETURN(const std::string token, MakeToken());
  UniqueDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const std::string line = absl::StrCat(token, "\n");
  if (!file.ok() ||
      write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
      file.Close() != 0) {
    return absl::UnavailableError(absl::StrCat("token: ", path, ": ", ErrnoMessage(errno)));
  }
  out << role << " " << HashOfToken(token) << "\n";
  return absl::OkStatus();
}

}  // namespace percentdelta
