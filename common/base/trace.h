// SPDX-License-Identifier: Apache-2.0

// A timeline of events in the Chrome trace event format, which https://ui.perfetto.dev opens. Times
// are microseconds of the wall clock, so that the files of several processes can be merged into one
// timeline: jq -s add worker.json server.json > all.json
//
// There are two kinds of spans. A TraceSpan is work of the thread that holds it; spans of a thread
// nest. An AsyncSpan is an operation in flight, such as a transfer; any number may overlap.

#ifndef PERCENTDELTA_COMMON_BASE_TRACE_H_
#define PERCENTDELTA_COMMON_BASE_TRACE_H_

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace percentdelta {

// What a span belongs to; negative or empty fields are omitted.
struct TraceSubject {
  int64_t step = -1;
  int32_t slot = -1;
  absl::string_view tensor = {};
  int shard = -1;  // the peer's
};

// A file to which events are written as they happen. Thread-safe. If an event cannot be written
// (disk full), the program continues, and Close reports it.
class Trace {
 public:
  // kUnavailable: the file cannot be written.
  static absl::StatusOr<std::shared_ptr<Trace>> Open(const std::string& path);

  ~Trace();

  // Completes the file. Later events are dropped. kUnavailable: events are missing.
  absl::Status Close();

 private:
  friend class Tracer;
  Trace(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

  void Write(const std::string& event);

  const std::string path_;
  std::atomic<int> processes_{0};
  std::atomic<int64_t> async_spans_{0};
  absl::Mutex mutex_;
  std::FILE* file_ ABSL_GUARDED_BY(mutex_);
  bool empty_ ABSL_GUARDED_BY(mutex_) = true;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
};

// Writes events of one server or worker. A default-constructed one writes nothing, at the cost of a
// comparison. Copyable; thread-safe.
class Tracer {
 public:
  Tracer() = default;

  // `name` is shown in the timeline: "shard 0". With a null trace, writes nothing.
  Tracer(std::shared_ptr<Trace> trace, absl::string_view name);

  bool enabled() const { return trace_ != nullptr; }

 private:
  friend class TraceSpan;
  friend class TraceLaps;
  friend class AsyncSpan;

  void WriteWork(absl::string_view name, const TraceSubject& subject, int64_t begin_us,
                 int64_t end_us) const;
  void WriteAsync(absl::string_view name, const TraceSubject& subject, int64_t begin_us,
                  int64_t end_us) const;

  std::shared_ptr<Trace> trace_;
  int process_ = 0;
};

// Lasts from construction to destruction, on one thread. The tracer and the names must outlive it.
class TraceSpan {
 public:
  TraceSpan(const Tracer& tracer, absl::string_view name, const TraceSubject& subject);
  ~TraceSpan();
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  const Tracer& tracer_;
  const absl::string_view name_;
  const TraceSubject subject_;
  const int64_t begin_us_;
};

// Consecutive work of a thread: each span starts at the end of the one before.
class TraceLaps {
 public:
  explicit TraceLaps(const Tracer& tracer);
  void End(absl::string_view name, const TraceSubject& subject);

 private:
  const Tracer& tracer_;
  int64_t begin_us_;
};

// Lasts from construction to End(); without End() it is not written. Copies its arguments, except
// `name`, which must be a literal.
class AsyncSpan {
 public:
  AsyncSpan() = default;
  AsyncSpan(const Tracer& tracer, const char* name, const TraceSubject& subject);
  void End();

 private:
  Tracer tracer_;
  const char* name_ = "";
  TraceSubject subject_;  // its tensor is `tensor_`
  std::string tensor_;
  int64_t begin_us_ = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_TRACE_H_
