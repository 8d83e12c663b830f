// SPDX-License-Identifier: Apache-2.0

// A separate process that offers shared memory until it is killed.

#ifndef PERCENTDELTA_TESTS_COMMON_TRANSPORT_MEMORY_MAKER_H_
#define PERCENTDELTA_TESTS_COMMON_TRANSPORT_MEMORY_MAKER_H_

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <string>

#include "common/transport/shared_memory.h"

namespace percentdelta {

class MemoryMaker {
 public:
  // The memory's first value is 42. `user`: whose it is, if this process may choose that.
  explicit MemoryMaker(int64_t values, uid_t user = geteuid()) {
    std::array<int, 2> ends = {-1, -1};
    EXPECT_EQ(pipe(ends.data()), 0);
    process_ = fork();
    if (process_ == 0) Offer(values, user, ends[1]);
    close(ends[1]);
    Message message = {};
    EXPECT_EQ(read(ends[0], &message, sizeof(message)), static_cast<ssize_t>(sizeof(message)));
    close(ends[0]);
    name_ = {process_, message.descriptor, std::string(message.key.data(), message.key.size())};
  }

  ~MemoryMaker() { Kill(); }
  MemoryMaker(const MemoryMaker&) = delete;
  MemoryMaker& operator=(const MemoryMaker&) = delete;

  const SharedMemoryName& name() const { return name_; }

  // Kills the process and waits for its end.
  void Kill() {
    if (process_ <= 0) return;
    kill(process_, SIGKILL);
    EXPECT_EQ(waitpid(process_, nullptr, 0), process_);
    process_ = 0;
  }

 private:
  struct Message {
    int32_t descriptor;
    std::array<char, 16> key;
  };

  [[noreturn]] static void Offer(int64_t values, uid_t user, int end) {
    if (geteuid() == 0 && seteuid(user) != 0) _exit(1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto made = SharedMemory::Make(values);
    if (!made.ok()) _exit(1);
    (*made)->values()[0] = 42;
    Message message = {(*made)->name().descriptor, {}};
    std::memcpy(message.key.data(), (*made)->name().key.data(), message.key.size());
    if (write(end, &message, sizeof(message)) < 0) _exit(1);
    close(end);
    while (true) pause();
  }

  pid_t process_ = 0;
  SharedMemoryName name_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_COMMON_TRANSPORT_MEMORY_MAKER_H_
