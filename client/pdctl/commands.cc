// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/commands.h"

#include <fcntl.h>
#include <grpcpp/client_context.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/pdctl/export.h"
#include "client/pdctl/statistics_format.h"
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
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxRowBytes = 4000;
constexpr absl::Duration kCheckpointPoll = absl::Milliseconds(50);

Json PointJson(const std::vector<ProgressPoint>& points) {
  if (points.empty()) return nullptr;
  const ProgressPoint& last = points.back();
  return {{"step", last.step},
          {"loss", last.loss},
          {"accuracy", last.accuracy},
          {"seconds", last.seconds}};
}

// Adds what the user can do about a server that does not answer.
absl::Status WithAdvice(const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  return absl::Status(status.code(),
                      absl::StrCat(status.message(),
                                   ". Is pd-server running there? Give another address with "
                                   "--server=HOST:PORT."));
}

Json CheckpointJson(const std::optional<CheckpointProgress>& checkpoint) {
  if (!checkpoint) return nullptr;
  return {{"step", checkpoint->step},
          {"under_way", checkpoint->under_way},
          {"failures", checkpoint->failures},
          {"error", checkpoint->error},
          {"skipped", checkpoint->skipped}};
}

std::string CheckpointText(const CheckpointProgress& checkpoint) {
  std::string text = checkpoint.step < 0 ? "none yet" : absl::StrCat("step ", checkpoint.step);
  if (checkpoint.under_way) absl::StrAppend(&text, ", the next one is being written");
  if (!checkpoint.error.empty()) {
    absl::StrAppend(&text, "; the last one FAILED: ", checkpoint.error);
  } else if (checkpoint.failures > 0) {
    absl::StrAppend(&text, "; failed before: ", checkpoint.failures);
  }
  if (checkpoint.skipped > 0) {
    absl::StrAppend(&text, "; skipped, as the disk is slow: ", checkpoint.skipped);
  }
  return text;
}

Json TimesJson(const std::optional<LeaseTimes>& times) {
  if (!times) return nullptr;
  return {{"pull", absl::ToDoubleSeconds(times->pull)},
          {"compute", absl::ToDoubleSeconds(times->compute)},
          {"push", absl::ToDoubleSeconds(times->push)}};
}

std::string TimesText(const LeaseTimes& times) {
  const auto ms = [](absl::Duration time) { return absl::ToDoubleMilliseconds(time); };
  return absl::StrFormat("pull %.1f ms, compute %.1f ms, push %.1f ms (means of the last minute)",
                         ms(times.pull), ms(times.compute), ms(times.push));
}

std::string StatusJson(const Progress& progress) {
  const Json json = {{"state", std::string(ToString(progress.state))},
                     {"message", progress.message},
                     {"job_name", progress.job_name},
                     {"job_hash", progress.job_hash},
                     {"generation", progress.generation},
                     {"shards", progress.shard_count},
                     {"step", progress.step},
                     {"max_steps", progress.max_steps},
                     {"workers", progress.workers},
                     {"arithmetic", progress.arithmetic},
                     {"data", progress.data},
                     {"lease_seconds", TimesJson(progress.mean_times)},
                     {"examples_per_second", progress.examples_per_second},
                     {"seconds_left", absl::ToDoubleSeconds(TimeLeft(progress))},
                     {"last_training", PointJson(progress.training)},
                     {"last_evaluation", PointJson(progress.evaluations)},
                     {"expired_leases", progress.expired_leases},
                     {"failed_leases", progress.failed_leases},
                     {"duplicate_results", progress.duplicate_results},
                     {"speculative_leases", progress.speculative_leases},
                     {"checkpoint", CheckpointJson(progress.checkpoint)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Escapes `value`, which may come from an untrusted peer, so that a row stays one line.
void AppendRow(std::string& text, absl::string_view name, absl::string_view value) {
  absl::StrAppendFormat(&text, "%-14s %s\n", name, EscapeForLog(value, kMaxRowBytes));
}

std::string StatusTable(const Progress& progress) {
  std::string text;
  AppendRow(text, "state",
            absl::StrCat(ToString(progress.state), progress.message.empty() ? "" : ": ",
                         progress.message));
  AppendRow(text, "job", absl::StrCat(progress.job_name, ", sha256 ", progress.job_hash));
  AppendRow(text, "step", absl::StrCat(progress.step, " of ", progress.max_steps));
  if (!progress.training.empty()) {
    const ProgressPoint& last = progress.training.back();
    AppendRow(text, "loss", absl::StrFormat("%.4f at step %d", last.loss, last.step));
  }
  if (!progress.evaluations.empty()) {
    const ProgressPoint& last = progress.evaluations.back();
    AppendRow(text, "test accuracy",
              absl::StrFormat("%.2f %% at step %d", 100 * last.accuracy, last.step));
  }
  if (progress.examples_per_second > 0) {
    AppendRow(text, "speed", absl::StrFormat("%.0f examples/s", progress.examples_per_second));
  }
  const absl::Duration left = absl::Ceil(TimeLeft(progress), absl::Seconds(1));
  if (left > absl::ZeroDuration()) AppendRow(text, "time left", absl::FormatDuration(left));
  AppendRow(text, "workers",
            absl::StrCat(progress.workers, progress.arithmetic.empty() ? "" : ", arithmetic ",
                         progress.arithmetic));
  if (progress.mean_times) AppendRow(text, "a lease takes", TimesText(*progress.mean_times));
  AppendRow(text, "shards",
            absl::StrCat(progress.shard_count, ", generation ", progress.generation));
  AppendRow(text, "leases",
            absl::StrCat(progress.expired_leases, " expired, ", progress.failed_leases, " failed, ",
                         progress.duplicate_results, " done twice, ", progress.speculative_leases,
                         " given to a second worker"));
  if (progress.checkpoint) AppendRow(text, "checkpoint", CheckpointText(*progress.checkpoint));
  return text;
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
  out << ChecksumOf(newest.weights) << "  step " << newest.weights.step << "\n";
  return absl::OkStatus();
}

absl::Status ExportToFile(const Cluster& cluster, const std::string& path, std::ostream& out) {
  ASSIGN_OR_RETURN(const ClusterWeights newest, PullNewest(cluster));
  RETURN_IF_ERROR(ExportWeights(path, newest.info, newest.weights));
  out << path << "  step " << newest.weights.step << "  " << newest.weights.values.size()
      << " tensors  " << ChecksumOf(newest.weights) << "\n";
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
    const absl::Status failure = ExplainUnavailable(FromGrpc(status), address, credentials);
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
