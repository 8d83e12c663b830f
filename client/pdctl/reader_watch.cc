// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/reader_watch.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <utility>

namespace percentdelta {

ReaderWatch::ReaderWatch(int descriptor, std::function<void()> gone)
    : end_(eventfd(0, EFD_CLOEXEC)) {
  if (!end_.ok()) return;  // the next write will fail instead
  thread_ = std::thread([this, descriptor, call = std::move(gone)] { Run(descriptor, call); });
}

ReaderWatch::~ReaderWatch() {
  if (!end_.ok()) return;
  eventfd_write(end_.get(), 1);
  thread_.join();
}

void ReaderWatch::Run(int descriptor, const std::function<void()>& gone) const {
  pollfd files[] = {{end_.get(), POLLIN, 0}, {descriptor, 0, 0}};
  while (files[0].revents == 0) {
    if (poll(files, 2, -1) < 0 && errno != EINTR) return;
    if ((files[1].revents & (POLLERR | POLLHUP)) != 0) {
      gone();
      return;
    }
    if (files[1].revents != 0) files[1].fd = -1;  // an invalid descriptor: poll it no longer
  }
}

}  // namespace percentdelta
