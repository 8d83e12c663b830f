// Notices that the reader of a program's output has gone, while the program has nothing to write.

#ifndef PERCENTDELTA_CLIENT_PDCTL_READER_WATCH_H_
#define PERCENTDELTA_CLIENT_PDCTL_READER_WATCH_H_

#include <functional>
#include <thread>

#include "common/base/descriptors.h"

namespace percentdelta {

// A thread that calls `gone`, once, when the other end of a pipe, socket or terminal is closed.
// Other files have no reader: nothing happens.
class ReaderWatch {
 public:
  ReaderWatch(int descriptor, std::function<void()> gone);

  // Returns when a call under way has returned.
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
