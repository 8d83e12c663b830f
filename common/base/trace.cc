// SPDX-License-Identifier: Apache-2.0

#include "common/base/trace.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errno_status.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

constexpr int kTracersPerProcess = 1000;

int64_t NowMicroseconds() { return absl::GetCurrentTimeNanos() / 1000; }

std::string Quoted(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The subject as the event's "args".
std::string Args(const TraceSubject& subject) {
  std::string args;
  const auto add = [&args](absl::string_view name, const std::string& value) {
    absl::StrAppend(&args, args.empty() ? "" : ",", "\"", name, "\":", value);
  };
  if (subject.step >= 0) add("step", absl::StrCat(subject.step));
  if (subject.slot >= 0) add("slot", absl::StrCat(subject.slot));
  if (!subject.tensor.empty()) add("tensor", Quoted(subject.tensor));
  if (subject.shard >= 0) add("shard", absl::StrCat(subject.shard));
  return absl::StrCat("{", args, "}");
}

}  // namespace

absl::StatusOr<std::shared_ptr<Trace>> Trace::Open(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("trace: cannot write ", path, ": ", ErrnoMessage(errno)));
  }
  return std::shared_ptr<Trace>(new Trace(path, file));
}

Trace::~Trace() { Close().IgnoreError(); }

void Trace::Write(const std::string& event) {
  absl::MutexLock lock(&mutex_);
  if (file_ == nullptr) return;
  const char* const separator = empty_ ? "[\n" : ",\n";
  empty_ = false;
  if (std::fputs(separator, file_) < 0 || std::fputs(event.c_str(), file_) < 0) failed_ = true;
}

absl::Status Trace::Close() {
  absl::MutexLock lock(&mutex_);
  if (file_ == nullptr) return absl::OkStatus();
  if (std::fputs(empty_ ? "[]\n" : "\n]\n", file_) < 0) failed_ = true;
  if (std::fclose(std::exchange(file_, nullptr)) != 0) failed_ = true;
  if (!failed_) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("trace: ", path_, " is incomplete: is the disk full?"));
}

Tracer::Tracer(std::shared_ptr<Trace> trace, absl::string_view name) : trace_(std::move(trace)) {
  if (trace_ == nullptr) return;
  process_ = getpid() * kTracersPerProcess + trace_->processes_++;
  trace_->Write(absl::StrCat(R"({"ph":"M","name":"process_name","pid":)", process_,
                             R"(,"args":{"name":)", Quoted(name), "}}"));
}

void Tracer::WriteWork(absl::string_view name, const TraceSubject& subject, int64_t begin_us,
                       int64_t end_us) const {
  trace_->Write(absl::StrCat(R"({"ph":"X","name":)", Quoted(name), R"(,"pid":)", process_,
                             R"(,"tid":)", syscall(SYS_gettid), R"(,"ts":)", begin_us, R"(,"dur":)",
                             end_us - begin_us, R"(,"args":)", Args(subject), "}"));
}

void Tracer::WriteAsync(absl::string_view name, const TraceSubject& subject, int64_t begin_us,
                        int64_t end_us) const {
  const std::string id = absl::StrCat(process_, ".", trace_->async_spans_++);
  const std::string both = absl::StrCat(R"("cat":"transfer","name":)", Quoted(name), R"(,"pid":)",
                                        process_, R"(,"tid":0,"id":)", Quoted(id));
  trace_->Write(absl::StrCat(R"({"ph":"b",)", both, R"(,"ts":)", begin_us, R"(,"args":)",
                             Args(subject), "},\n", R"({"ph":"e",)", both, R"(,"ts":)", end_us,
                             "}"));
}

TraceSpan::TraceSpan(const Tracer& tracer, absl::string_view name, const TraceSubject& subject)
    : tracer_(tracer),
      name_(name),
      subject_(subject),
      begin_us_(tracer.enabled() ? NowMicroseconds() : 0) {}

TraceSpan::~TraceSpan() {
  if (tracer_.enabled()) tracer_.WriteWork(name_, subject_, begin_us_, NowMicroseconds());
}

TraceLaps::TraceLaps(const Tracer& tracer)
    : tracer_(tracer), begin_us_(tracer.enabled() ? NowMicroseconds() : 0) {}

void TraceLaps::End(absl::string_view name, const TraceSubject& subject) {
  if (!tracer_.enabled()) return;
  const int64_t now = NowMicroseconds();
  tracer_.WriteWork(name, subject, begin_us_, now);
  begin_us_ = now;
}

AsyncSpan::AsyncSpan(const Tracer& tracer, const char* name, const TraceSubject& subject) {
  if (!tracer.enabled()) return;
  tracer_ = tracer;
  name_ = name;
  subject_ = subject;
  tensor_ = std::string(subject.tensor);
  begin_us_ = NowMicroseconds();
}

void AsyncSpan::End() {
  if (!tracer_.enabled()) return;
  subject_.tensor = tensor_;
  tracer_.WriteAsync(name_, subject_, begin_us_, NowMicroseconds());
  tracer_ = Tracer();
}

}  // namespace percentdelta
