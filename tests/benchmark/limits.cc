// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace percentdelta {
namespace {

constexpr size_t kPiece = 1 << 20;

void Require(bool done, const char* what) {
  if (done) return;
  std::perror(what);
  std::abort();
}

}  // namespace

LoopbackTransfer::LoopbackTransfer(size_t bytes) : source_(bytes, 1), target_(bytes) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  Require(listener >= 0 && bind(listener, generic, size) == 0 && listen(listener, 1) == 0 &&
              getsockname(listener, generic, &size) == 0,
          "listening on loopback");
  sender_ = socket(AF_INET, SOCK_STREAM, 0);
  Require(sender_ >= 0 && connect(sender_, generic, size) == 0, "connecting over loopback");
  receiver_ = accept(listener, nullptr, nullptr);
  Require(receiver_ >= 0, "accepting over loopback");
  close(listener);
}

LoopbackTransfer::~LoopbackTransfer() {
  close(sender_);
  close(receiver_);
}

void LoopbackTransfer::Run() {
  std::thread sender([this] {
    for (size_t sent = 0; sent < source_.size();) {
      const ssize_t count =
          send(sender_, source_.data() + sent, std::min(kPiece, source_.size() - sent), 0);
      Require(count > 0, "sending over loopback");
      sent += count;
    }
  });
  for (size_t received = 0; received < target_.size();) {
    const ssize_t count =
        recv(receiver_, target_.data() + received, std::min(kPiece, target_.size() - received), 0);
    Require(count > 0, "receiving over loopback");
    received += count;
  }
  sender.join();
}

void MemoryTraffic::Run(ThreadPool& pool) {
  const size_t pieces = (source_.size() + kPiece - 1) / kPiece;
  pool.ParallelFor(static_cast<int64_t>(pieces), [&](int64_t piece) {
    const size_t begin = piece * kPiece;
    std::memcpy(target_.data() + begin, source_.data() + begin,
                std::min(kPiece, source_.size() - begin));
  });
}

}  // namespace percentdelta
