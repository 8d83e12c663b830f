// SPDX-License-Identifier: Apache-2.0

// What libraries log as errors, for those who look for one in particular. A library has one
// function for its log, which the program sets: it passes errors on to all listeners of the
// process.

#ifndef PERCENTDELTA_COMMON_BASE_LIBRARY_ERRORS_H_
#define PERCENTDELTA_COMMON_BASE_LIBRARY_ERRORS_H_

#include <functional>

#include "absl/strings/string_view.h"

namespace percentdelta {

// Receives the errors from its construction to its destruction, which waits for a call that is
// running. `listener` is called on the thread that logs, must not block, and must not log an error
// of a library itself.
class LibraryErrorListener {
 public:
  using Function = std::function<void(absl::string_view message)>;

  explicit LibraryErrorListener(Function listener);
  ~LibraryErrorListener();
  LibraryErrorListener(const LibraryErrorListener&) = delete;
  LibraryErrorListener& operator=(const LibraryErrorListener&) = delete;

 private:
  friend void PassOnLibraryError(absl::string_view message);
  const Function listener_;
};

// Calls all listeners. Thread-safe.
void PassOnLibraryError(absl::string_view message);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_LIBRARY_ERRORS_H_
