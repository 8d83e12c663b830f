// SPDX-License-Identifier: Apache-2.0

// Writes lines to a file descriptor on its own thread, so that a reader that is slow, stopped or
// gone never blocks the callers.

#ifndef PERCENTDELTA_COMMON_BASE_LINE_WRITER_H_
#define PERCENTDELTA_COMMON_BASE_LINE_WRITER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"

namespace percentdelta {

// Thread-safe. Preserves the order of lines. When more than `max_bytes` are queued, drops new lines
// until the queue is half empty; `note` then formats the line that says how many were dropped.
// Lines that cannot be written (reader gone, disk full, descriptor closed) are dropped as well.
class LineWriter {
 public:
  LineWriter(int descriptor, size_t max_bytes, std::function<std::string(int64_t dropped)> note);

  // Flushes for at most a second, unless the last flush timed out; drops what is left.
  ~LineWriter();

  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // Queues a complete line, including its newline. Never waits for the descriptor.
  void Write(std::string line);

  // Lines that all writers of this process have dropped.
  static int64_t total_dropped();

  // Waits until every line queued so far is written or dropped. Returns false after `timeout`.
  bool Flush(absl::Duration timeout);

 private:
  void Run();
  bool WriteOut(const std::string& line);  // false: could not be written
  bool AwaitReader() const;                // false: stopping
  void AddNote();                          // with mutex_ held
  void CountDropped();                     // with mutex_ held

  const int descriptor_;
  const size_t max_bytes_;
  const std::function<std::string(int64_t)> note_;

  // Standard library types, because they wait by the steady clock. mutex_ guards what follows.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  size_t bytes_ = 0;       // of lines_
  bool full_ = false;      // drops new lines
  bool stuck_ = false;     // a flush timed out, and no line has been written since
  bool writing_ = false;   // a line that is no longer in lines_
  int64_t dropped_ = 0;    // since the last note
  bool stopping_ = false;  // drops what cannot be written at once
  bool done_ = false;      // the thread has finished

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LINE_WRITER_H_
