// SPDX-License-Identifier: Apache-2.0

#include "common/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/metrics/metric_list.h"

namespace percentdelta {
namespace {

double Seconds(const timeval& time) {
  return absl::ToDoubleSeconds(absl::DurationFromTimeval(time));
}

// Fields of /proc/self/stat after the command, from the state on (proc(5) counts it as the third).
std::vector<std::string> StatFields() {
  std::ifstream file("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t end = text.rfind(')');
  if (end == std::string::npos) return {};
  return absl::StrSplit(text.substr(end + 1), ' ', absl::SkipEmpty());
}

double Field(const std::vector<std::string>& fields, size_t number) {
  int64_t value = 0;
  if (number - 3 < fields.size() && !absl::SimpleAtoi(fields[number - 3], &value)) value = 0;
  return static_cast<double>(value);
}

// Wall-clock time at which the process started, by its age in clock ticks since the boot.
double StartTime(double start_ticks) {
  std::ifstream file("/proc/uptime");
  double uptime = 0;
  file >> uptime;
  const double age = uptime - start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()) - age;
}

double OpenDescriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator descriptors("/proc/self/fd", error);
  if (error) return 0;
  // The iterator has one open itself.
  return static_cast<double>(std::distance(begin(descriptors), end(descriptors)) - 1);
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  constexpr size_t kThreads = 20;
  constexpr size_t kStartTicks = 22;
  constexpr size_t kVirtualBytes = 23;
  constexpr size_t kResidentPages = 24;
  MetricList list;
  const std::vector<std::string> fields = StatFields();
  list.Gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
             Field(fields, kResidentPages) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  list.Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.",
             Field(fields, kVirtualBytes));
  list.Gauge("process_threads", "Number of threads.", Field(fields, kThreads));
  list.Gauge("process_open_fds", "Number of open file descriptors.", OpenDescriptors());
  list.Gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
             StartTime(Field(fields, kStartTicks)));
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  list.Counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
               Seconds(usage.ru_utime) + Seconds(usage.ru_stime));
  list.Counter("log_lines_dropped_total", "Log lines that could not be written.",
               static_cast<double>(DroppedLogLines()));
  return list.Take();
}

}  // namespace percentdelta
