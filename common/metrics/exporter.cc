// SPDX-License-Identifier: Apache-2.0

#include "common/metrics/exporter.h"

#include <prometheus/exposer.h>

#include <exception>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/address.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"
#include "common/metrics/process_metrics.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxPasswordBytes = 256;

absl::StatusOr<std::string> ReadPassword(const std::string& path) {
  std::ifstream file(path);
  std::string password;
  if (!file || !std::getline(file, password)) {
    return absl::UnavailableError(
        absl::StrCat("metrics_password_file: cannot read a line of ", QuoteForLog(path)));
  }
  absl::StripAsciiWhitespace(&password);
  if (password.empty() || password.size() > kMaxPasswordBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("metrics_password_file: expected 1 to ", kMaxPasswordBytes,
                     " bytes on the first line of ", QuoteForLog(path), ", got ", password.size()));
  }
  return password;
}

// Takes the same time wherever the texts differ.
bool IsSame(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |=
        static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  }
  return difference == 0;
}

// civetweb's options. Bounds its threads, the connections that wait for one of them, and the time
// that a client may take.
std::vector<std::string> WebOptions(const HostPort& address) {
  const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
  return {"listening_ports",
          ToString({host, address.port}),
          "num_threads",
          "2",
          "connection_queue",
          "16",
          "listen_backlog",
          "16",
          "request_timeout_ms",
          "5000",
          "enable_keep_alive",
          "no",
          "enable_directory_listing",
          "no",
          "max_request_size",
          "8192"};
}

}  // namespace

absl::Status CheckMetricsOptions(const MetricsOptions& options) {
  if (options.address.empty()) {
    if (options.password_file.empty() && !options.insecure) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "metrics: expected an address to serve metrics at, since metrics_password_file or "
        "metrics_insecure is given, got nothing");
  }
  ASSIGN_OR_RETURN(const HostPort address, ParseHostPort("metrics", options.address, 0));
  if (IsLoopback(address.host) || !options.password_file.empty() || options.insecure) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "metrics: ", options.address,
      " can be reached from other machines: expected metrics_password_file, or metrics_insecure "
      "to show loss, layers and names of workers to everybody who can reach it, got neither"));
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(
    const MetricsOptions& options, std::vector<std::shared_ptr<prometheus::Collectable>> sources) {
  RETURN_IF_ERROR(CheckMetricsOptions(options));
  ASSIGN_OR_RETURN(const HostPort address, ParseHostPort("metrics", options.address, 0));
  std::unique_ptr<MetricsExporter> exporter(new MetricsExporter());
  exporter->sources_ = std::move(sources);
  exporter->sources_.push_back(std::make_shared<ProcessMetrics>());
  try {
    exporter->exposer_ = std::make_unique<prometheus::Exposer>(WebOptions(address));
    if (!options.password_file.empty()) {
      ASSIGN_OR_RETURN(const std::string password, ReadPassword(options.password_file));
      exporter->exposer_->RegisterAuth(
          [password](const std::string& /*user*/, const std::string& given) {
            return IsSame(given, password);
          },
          "percentdelta");
    }
    for (const auto& source : exporter->sources_) {
      exporter->exposer_->RegisterCollectable(source);
    }
    exporter->address_ = WithPort(options.address, exporter->exposer_->GetListeningPorts().front());
  } catch (const std::exception&) {  // it does not say why
    return absl::UnavailableError(absl::StrCat(
        "metrics: cannot listen on ", options.address,
        ": is the port in use, or the host no address of this machine? Port 0 takes a free one"));
  }
  return exporter;
}

MetricsExporter::~MetricsExporter() = default;

}  // namespace percentdelta
