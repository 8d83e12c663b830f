// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/handshake_watch.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "server/rpc/connections.h"

namespace percentdelta {
namespace {

constexpr absl::string_view kFailed = "Handshake failed with fatal error ";
constexpr size_t kMaxReasons = 64;

// gRPC closes a connection at once after a failure, but on another thread.
constexpr int kPollMs = 10;
constexpr int kPolls = 20;

// "SSL_ERROR_SSL: error:0A0000C7:SSL routines::peer did not return a certificate." -> the part that
// is for people.
std::string ReasonOf(absl::string_view message) {
  const size_t last = message.rfind(':');
  if (last != absl::string_view::npos) message.remove_prefix(last + 1);
  absl::ConsumeSuffix(&message, ".");
  return absl::StrCat("the TLS handshake failed: ", absl::StripAsciiWhitespace(message));
}

// Whether both directions of the connection are shut down.
bool HasEnded(int descriptor) {
  pollfd connection = {descriptor, 0, 0};
  return poll(&connection, 1, 0) != 0;
}

}  // namespace

HandshakeWatch::HandshakeWatch(std::shared_ptr<RefusalLog> refusals, absl::Duration handshake)
    : refusals_(std::move(refusals)),
      handshake_(handshake),
      thread_([this] { Run(); }),
      listener_([this](absl::string_view message) { TakeError(message); }) {}

HandshakeWatch::~HandshakeWatch() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void HandshakeWatch::Accepted(int descriptor) {
  Connection connection;
  connection.descriptor = UniqueDescriptor(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!connection.descriptor.ok()) return;
  connection.peer = PeerOfConnection(descriptor);
  connection.accepted = clock_.Now();
  absl::MutexLock lock(&mutex_);
  ForgetOld();
  if (connections_.size() == kMaxConnections) connections_.pop_front();
  connections_.push_back(std::move(connection));
}

void HandshakeWatch::TakeError(absl::string_view message) {
  const size_t at = message.find(kFailed);
  if (at == absl::string_view::npos) return;
  absl::MutexLock lock(&mutex_);
  ForgetOld();
  // The connection is still open: those that have ended were closed for other reasons.
  if (reasons_.empty()) ForgetEnded();
  if (reasons_.size() < kMaxReasons) reasons_.push_back(ReasonOf(message.substr(at)));
}

void HandshakeWatch::ForgetOld() {
  const absl::Duration now = clock_.Now();
  while (!connections_.empty() && now - connections_.front().accepted > handshake_) {
    connections_.pop_front();
  }
}

void HandshakeWatch::ForgetEnded() {
  std::erase_if(connections_,
                [](const Connection& connection) { return HasEnded(connection.descriptor.get()); });
}

// Waits, for a short while, until a connection ends, and returns its peer.
std::optional<std::string> HandshakeWatch::AwaitEnd() {
  for (int i = 0; i < kPolls; ++i) {
    {
      absl::MutexLock lock(&mutex_);
      const auto ended = absl::c_find_if(connections_, [](const Connection& connection) {
        return HasEnded(connection.descriptor.get());
      });
      if (ended != connections_.end()) {
        std::string peer = std::move(ended->peer);
        connections_.erase(ended);
        return peer;
      }
      if (stopping_) return std::nullopt;
    }
    absl::SleepFor(absl::Milliseconds(kPollMs));
  }
  return std::nullopt;
}

void HandshakeWatch::Run() {
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !reasons_.empty();
  };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&has_work));
      if (stopping_) return;
    }
    const std::string peer = AwaitEnd().value_or("");
    std::string reason;
    {
      absl::MutexLock lock(&mutex_);
      reason = std::move(reasons_.front());
      reasons_.pop_front();
    }
    refusals_->Write("handshake", peer, absl::UnauthenticatedError(reason));
  }
}

}  // namespace percentdelta
