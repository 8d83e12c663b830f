// Tells thread sanitizer what absl::Mutex does. Debian's absl is not instrumented, so that without
// this every access under a lock looks like a race. Linked into the tsan build alone, with --wrap
// for each of the functions below (top-level CMakeLists.txt).
//
// Between the pre- and the post- call the sanitizer looks away, which is right: what happens there
// (other threads evaluating our condition under the lock) is ordered by the mutex itself.
//
// Two more things of absl's that the sanitizer cannot see are left out: a status is counted up in
// our code and down in absl, so that the one who frees it seems not to come after all others (races
// on a status itself are still seen; "Unref" without its class, which -gline-tables-only does not
// know); and the graph in which absl looks for deadlocks is under a spin lock.

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

extern "C" {

// NOLINTBEGIN(bugprone-reserved-identifier): --wrap and the sanitizer prescribe the names
const char* __tsan_default_suppressions();
const char* __tsan_default_suppressions() {
  return "race:Unref\n"
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
