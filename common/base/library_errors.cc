// SPDX-License-Identifier: Apache-2.0

#include "common/base/library_errors.h"

#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace percentdelta {
namespace {

// The log functions of libraries are global; so is what they pass their errors to.
struct Listeners {
  absl::Mutex mutex;
  std::set<const LibraryErrorListener*> all ABSL_GUARDED_BY(mutex);
};

Listeners& TheListeners() {
  static auto* const kListeners = new Listeners;
  return *kListeners;
}

}  // namespace

LibraryErrorListener::LibraryErrorListener(Function listener) : listener_(std::move(listener)) {
  Listeners& listeners = TheListeners();
  absl::MutexLock lock(&listeners.mutex);
  listeners.all.insert(this);
}

LibraryErrorListener::~LibraryErrorListener() {
  Listeners& listeners = TheListeners();
  absl::MutexLock lock(&listeners.mutex);
  listeners.all.erase(this);
}

void PassOnLibraryError(absl::string_view message) {
  Listeners& listeners = TheListeners();
  absl::MutexLock lock(&listeners.mutex);
  for (const LibraryErrorListener* each : listeners.all) each->listener_(message);
}

}  // namespace percentdelta
