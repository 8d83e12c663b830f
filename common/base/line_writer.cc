// SPDX-License-Identifier: Apache-2.0

#include "common/base/line_writer.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <utility>

namespace percentdelta {
namespace {

std::atomic<int64_t> dropped_by_all{0};

constexpr absl::Duration kLastFlush = absl::Seconds(1);
constexpr int kPollMs = 50;
constexpr auto kInterrupt = std::chrono::milliseconds(10);

// A pipe that has room accepts this much without blocking.
constexpr size_t kPiece = 4096;

// Interrupts a write that blocks although there was room, because another process filled the pipe.
int InterruptSignal() { return SIGRTMIN; }

void PrepareInterrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};  // without SA_RESTART: the write ends with EINTR
  sigaction(InterruptSignal(), &action, nullptr);
}

// Leaves the program's signals to its other threads.
void BlockOtherSignals() {
  sigset_t signals;
  sigfillset(&signals);
  sigdelset(&signals, InterruptSignal());
  pthread_sigmask(SIG_SETMASK, &signals, nullptr);
}

}  // namespace

LineWriter::LineWriter(int descriptor, size_t max_bytes, std::function<std::string(int64_t)> note)
    : descriptor_(descriptor), max_bytes_(max_bytes), note_(std::move(note)) {
  PrepareInterrupt();
  thread_ = std::thread([this] { Run(); });
}

LineWriter::~LineWriter() {
  bool stuck = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stuck = stuck_;
  }
  if (!stuck) Flush(kLastFlush);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    while (!changed_.wait_for(lock, kInterrupt, [this] { return done_; })) {
      pthread_kill(thread_.native_handle(), InterruptSignal());
    }
  }
  thread_.join();
}

void LineWriter::Write(std::string line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  full_ = full_ || bytes_ + line.size() > max_bytes_;
  if (full_) {
    CountDropped();
    return;
  }
  AddNote();
  bytes_ += line.size();
  lines_.push_back(std::move(line));
  changed_.notify_all();
}

bool LineWriter::Flush(absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  const bool done = changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                                      [this] { return lines_.empty() && !writing_; });
  stuck_ = !done;
  return done;
}

int64_t LineWriter::total_dropped() { return dropped_by_all; }

void LineWriter::CountDropped() {
  ++dropped_;
  ++dropped_by_all;
}

void LineWriter::AddNote() {
  if (dropped_ == 0) return;
  lines_.push_back(note_(std::exchange(dropped_, 0)));
  bytes_ += lines_.back().size();
}

void LineWriter::Run() {
  BlockOtherSignals();
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !lines_.empty(); });
    if (lines_.empty()) break;
    const std::string line = std::move(lines_.front());
    lines_.pop_front();
    bytes_ -= line.size();
    writing_ = true;
    lock.unlock();
    const bool written = WriteOut(line);
    lock.lock();
    writing_ = false;
    if (!written) CountDropped();
    stuck_ = stuck_ && !written;
    if (bytes_ <= max_bytes_ / 2) full_ = false;
    // Report the loss without waiting for the next line; but not repeatedly if nothing gets
    // through.
    if (written && lines_.empty() && !full_) AddNote();
    changed_.notify_all();
  }
  done_ = true;
  changed_.notify_all();
}

bool LineWriter::AwaitReader() const {
  pollfd file = {descriptor_, POLLOUT, 0};
  while (poll(&file, 1, kPollMs) <= 0) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return false;
  }
  return true;
}

bool LineWriter::WriteOut(const std::string& line) {
  for (size_t begin = 0; begin < line.size();) {
    if (!AwaitReader()) return false;
    const ssize_t count =
        write(descriptor_, line.data() + begin, std::min(kPiece, line.size() - begin));
    if (count > 0) {
      begin += static_cast<size_t>(count);
    } else if (errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  return true;
}

}  // namespace percentdelta
