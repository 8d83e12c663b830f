// SPDX-License-Identifier: Apache-2.0

// Calls without a connection: what gRPC would do with a handler's reactor, step by step, on the
// thread of the caller.

#ifndef PERCENTDELTA_TESTS_FUZZ_CALLS_H_
#define PERCENTDELTA_TESTS_FUZZ_CALLS_H_

#include <grpcpp/support/server_callback.h>

#include <optional>
#include <utility>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/rpc/call_limiter.h"
#include "tests/fuzz/check.h"

namespace percentdelta {

inline CallPeer FuzzPeer() { return {"ipv4:127.0.0.1:1", "ipv4:127.0.0.1"}; }

inline CallLimiter::Options LimiterOptions() {
  static const SteadyClock* const kClock = new SteadyClock;
  CallLimiter::Options options;
  options.clock = kClock;
  options.log = MakeSilentLogger();
  return options;
}

// The parts that all calls have. A reactor must finish exactly once.
template <typename Base, typename Reactor>
class FakeCall : public Base {
 public:
  explicit FakeCall(Reactor* reactor) : reactor_(reactor) {}
  ~FakeCall() override = default;

  void Finish(grpc::Status status) override {
    FUZZ_CHECK(!status_);
    status_ = std::move(status);
  }
  void SendInitialMetadata() override {}

  const std::optional<grpc::Status>& status() const { return status_; }

  // The caller goes away, unless the call has ended; the reactor must then end it. It deletes
  // itself.
  void End() {
    if (!status_) reactor_->OnCancel();
    FUZZ_CHECK(status_);
    reactor_->OnDone();
  }

 protected:
  Reactor* const reactor_;

 private:
  grpc::internal::ServerReactor* reactor() override { return reactor_; }
  void CallOnDone() override {}

  std::optional<grpc::Status> status_;
};

class FakeUnary : public FakeCall<grpc::ServerCallbackUnary, grpc::ServerUnaryReactor> {
 public:
  explicit FakeUnary(grpc::ServerUnaryReactor* reactor) : FakeCall(reactor) {
    this->BindReactor(reactor);
  }
};

// A call whose client streams.
template <typename Request>
class FakeReader
    : public FakeCall<grpc::ServerCallbackReader<Request>, grpc::ServerReadReactor<Request>> {
 public:
  explicit FakeReader(grpc::ServerReadReactor<Request>* reactor)
      : FakeCall<grpc::ServerCallbackReader<Request>, grpc::ServerReadReactor<Request>>(reactor) {
    this->BindReactor(reactor);
  }

  void Read(Request* request) override {
    FUZZ_CHECK(!read_);
    read_ = request;
  }

  // Delivers a message, or the end of the stream, to the read that is in flight. Returns whether
  // there was one.
  bool Deliver(const Request* request) {
    Request* const read = std::exchange(read_, nullptr);
    if (read == nullptr) return false;
    if (request != nullptr) *read = *request;
    this->reactor_->OnReadDone(request != nullptr);
    return true;
  }

 private:
  Request* read_ = nullptr;
};

// A call whose server streams.
template <typename Response>
class FakeWriter
    : public FakeCall<grpc::ServerCallbackWriter<Response>, grpc::ServerWriteReactor<Response>> {
 public:
  explicit FakeWriter(grpc::ServerWriteReactor<Response>* reactor)
      : FakeCall<grpc::ServerCallbackWriter<Response>, grpc::ServerWriteReactor<Response>>(
            reactor) {
    this->BindReactor(reactor);
  }

  void Write(const Response* response, grpc::WriteOptions /*options*/) override {
    FUZZ_CHECK(!write_);
    write_ = response;
  }
  void WriteAndFinish(const Response* response, grpc::WriteOptions options,
                      grpc::Status status) override {
    Write(response, options);
    this->Finish(std::move(status));
  }

  // The message that is being written; null: none.
  const Response* written() const { return write_; }

  // Ends the write that is in flight.
  void Written(bool ok) {
    write_ = nullptr;
    this->reactor_->OnWriteDone(ok);
  }

 private:
  const Response* write_ = nullptr;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_FUZZ_CALLS_H_
