// Writes lines to a file descriptor on a thread of its own, so that a reader that is slow, has
// stopped or is gone never holds up the callers.

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

// Thread-safe. Lines keep their order. When more than `max_bytes` wait, newer lines are dropped
// until half of that is written; `note` then makes the line that says how many were dropped.
// Lines that cannot be written (reader gone, disk full, descriptor closed) are dropped, too.
class LineWriter {
 public:
  LineWriter(int descriptor, size_t max_bytes, std::function<std::string(int64_t dropped)> note);

  // Flushes for at most a second, unless a flush has just been in vain; drops what is left.
  ~LineWriter();

  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // Takes a whole line, newline included. Never waits for the descriptor.
  void Write(std::string line);

  // Waits until every line taken so far is written or dropped; false after `timeout`.
  bool Flush(absl::Duration timeout);

 private:
  void Run();
  bool WriteOut(const std::string& line);  // false: it could not be written
  bool AwaitReader() const;                // false: stopping
  void AddNote();                          // with mutex_ held

  const int descriptor_;
  const size_t max_bytes_;
  const std::function<std::string(int64_t)> note_;

  // Of the standard library, which waits by the steady clock. mutex_ guards what follows.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  size_t bytes_ = 0;       // of lines_
  bool full_ = false;      // takes no lines
  bool stuck_ = false;     // a flush was in vain, and no line has been written since
  bool writing_ = false;   // a line that has left lines_
  int64_t dropped_ = 0;    // since the last note
  bool stopping_ = false;  // what cannot be written at once is dropped
  bool left_ = false;      // the thread is done

  std::thread thread_;  // the last member: it uses the others
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LINE_WRITER_H_
