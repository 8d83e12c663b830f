// SPDX-License-Identifier: Apache-2.0

// Annotates absl::Mutex for thread sanitizer. Debian's absl is not instrumented, so that otherwise
// every access under a lock would look like a race. Linked only into the tsan build, with --wrap
// for each of the functions below (top-level CMakeLists.txt).
//
// Between the pre- and the post- call, the sanitizer ignores accesses. This is correct: the mutex
// itself orders what happens there (other threads evaluate our condition under the lock).
//
// Two other parts of absl that the sanitizer cannot see are suppressed. A status's reference count
// is incremented in our code and decremented in absl, so that freeing it looks unordered (races on
// a status itself are still found; "Unref" has no class name, because -gline-tables-only omits it).
// The graph in which absl detects deadlocks is protected by a spin lock.
//
// civetweb writes the header Date with gmtime(), whose result all threads share. No other code here
// calls it.

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

extern "C" {

// NOLINTBEGIN(bugprone-reserved-identifier): --wrap and the sanitizer prescribe the names
const char* __tsan_default_suppressions();
const char* __tsan_default_suppressions() {
  return "race:Unref\n"
         "race:gmtime\n"
         "called_from_lib:libabsl_graphcycles_internal.so\n";
}

void __real__ZN4absl7debian35Mutex4LockEv(absl::Mutex* mutex);
void __real__ZN4absl7debian35Mutex6UnlockEv(absl::Mutex* mutex);
void __real__ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE(absl::Mutex* mutex,
                                                           const absl::Condition& condition);
bool __real__ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE(
    absl::Mutex* mutex, const absl::Condition& condition, absl::Duration timeout);

void __wrap__ZN4absl7debian35Mutex4LockEv(absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, 0);
  __real__ZN4absl7debian35Mutex4LockEv(mutex);
  __tsan_mutex_post_lock(mutex, 0, 0);
}

void __wrap__ZN4absl7debian35Mutex6UnlockEv(absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __real__ZN4absl7debian35Mutex6UnlockEv(mutex);
  __tsan_mutex_post_unlock(mutex, 0);
}

void __wrap__ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE(absl::Mutex* mutex,
                                                           const absl::Condition& condition) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __tsan_mutex_post_unlock(mutex, 0);
  __tsan_mutex_pre_lock(mutex, 0);
  __real__ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE(mutex, condition);
  __tsan_mutex_post_lock(mutex, 0, 0);
}

bool __wrap__ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE(
    absl::Mutex* mutex, const absl::Condition& condition, absl::Duration timeout) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __tsan_mutex_post_unlock(mutex, 0);
  __tsan_mutex_pre_lock(mutex, 0);
  const bool met = __real__ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE(
      mutex, condition, timeout);
  __tsan_mutex_post_lock(mutex, 0, 0);
  return met;
}
// NOLINTEND(bugprone-reserved-identifier)

}  // extern "C"
