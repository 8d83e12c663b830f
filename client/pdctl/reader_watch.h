// SPDX-License-Identifier: Apache-2.0

// Detects that the reader of a program's output has closed it, while the program has nothing to
// write.

#ifndef PERCENTDELTA_CLIENT_PDCTL_READER_WATCH_H_
#define PERCENTDELTA_CLIENT_PDCTL_READER_WATCH_H_

#include <functional>
#include <thread>

#include "common/base/descriptors.h"

namespace percentdelta {

// Runs a thread that calls `gone` once, when the other end of a pipe, socket or terminal is closed.
// Does nothing for other files, which have no reader.
class ReaderWatch {
 public:
  ReaderWatch(int descriptor, std::function<void()> gone);

  // Waits until a call of `gone` in progress has returned.
  ~ReaderWatch();

  ReaderWatch(const ReaderWatch&) = delete;
  ReaderWatch& operator=(const ReaderWatch&) = delete;

 private:
  void Run(int descriptor, const std::function<void()>& gone) const;

  const UniqueDescriptor end_;  // an eventfd, readable when the watch must end; empty: no watch
  std::thread thread_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_CLIENT_PDCTL_READER_WATCH_H_
