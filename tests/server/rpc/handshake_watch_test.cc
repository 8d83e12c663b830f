// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/handshake_watch.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/socket.h>

#include <memory>
#include <mutex>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/descriptors.h"
#include "common/base/library_errors.h"
#include "server/rpc/connections.h"
#include "tests/server/test_jobs.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kError[] =
    "Handshake failed with fatal error SSL_ERROR_SSL: error:0A000086:SSL routines::certificate "
    "verify failed.";

class HandshakeWatchTest : public testing::Test {
 protected:
  HandshakeWatchTest() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
    EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address_), &size), 0);
  }

  // A connection as a server has it; its client is `client`.
  struct Pair {
    UniqueDescriptor client;
    UniqueDescriptor server;
    std::string peer;

    // What gRPC does.
    void End() {
      shutdown(server.get(), SHUT_RDWR);
      server.Close();
    }
  };

  Pair Connect() {
    Pair pair;
    pair.client = UniqueDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(pair.client.get(), reinterpret_cast<sockaddr*>(&address_), sizeof(address_)),
              0);
    pair.server = UniqueDescriptor(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    pair.peer = PeerOfConnection(pair.server.get());
    watch_.Accepted(pair.server.get());
    return pair;
  }

  std::string AwaitLog(const std::string& part) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (absl::Now() < give_up) {
      log_->flush();
      if (std::string text = Text(); absl::StrContains(text, part)) return text;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return Text();
  }

  std::string Text() {
    absl::MutexLock lock(&mutex_);
    return out_.str();
  }

  // Writes to `out_`, which the test reads meanwhile.
  class Sink : public spdlog::sinks::base_sink<std::mutex> {
   public:
    explicit Sink(HandshakeWatchTest& test) : test_(test) {}

   private:
    void sink_it_(const spdlog::details::log_msg& message) override {
      absl::MutexLock lock(&test_.mutex_);
      test_.out_ << std::string(message.payload.data(), message.payload.size()) << "\n";
    }
    void flush_() override {}
    HandshakeWatchTest& test_;
  };

  absl::Mutex mutex_;
  std::ostringstream out_;
  FakeClock clock_;
  const Logger log_ = std::make_shared<spdlog::logger>("", std::make_shared<Sink>(*this));
  HandshakeWatch watch_{std::make_shared<RefusalLog>(log_, clock_), absl::Seconds(20)};
  const UniqueDescriptor listener_;
  sockaddr_in address_ = {};
};

TEST_F(HandshakeWatchTest, SaysWhoseHandshakeFailedAndWhy) {
  const Pair other = Connect();
  Pair refused = Connect();
  PassOnLibraryError(kError);
  refused.End();
  EXPECT_THAT(AwaitLog("handshake"),
              AllOf(HasSubstr(absl::StrCat(
                        "refused code=UNAUTHENTICATED rpc=handshake caller=\"", refused.peer,
                        "\" reason=\"the TLS handshake failed: certificate verify failed\"")),
                    Not(HasSubstr(other.peer))));
}

// A client that had left before is not the one.
TEST_F(HandshakeWatchTest, DoesNotBlameConnectionsThatEndedBefore) {
  Pair gone = Connect();
  Pair refused = Connect();
  gone.End();
  PassOnLibraryError(kError);
  refused.End();
  EXPECT_THAT(AwaitLog("handshake"), AllOf(HasSubstr(refused.peer), Not(HasSubstr(gone.peer))));
}

TEST_F(HandshakeWatchTest, ReportsAFailureWhoseConnectionItDoesNotKnow) {
  PassOnLibraryError(kError);
  EXPECT_THAT(AwaitLog("handshake"), HasSubstr("caller=\"unknown\""));
}

TEST_F(HandshakeWatchTest, IgnoresOtherErrors) {
  PassOnLibraryError("Something else failed: x");
  PassOnLibraryError(kError);
  EXPECT_THAT(AwaitLog("handshake"), Not(HasSubstr("Something else")));
}

}  // namespace
}  // namespace percentdelta
