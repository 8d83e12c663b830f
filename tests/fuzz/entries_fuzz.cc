// SPDX-License-Identifier: Apache-2.0

// Calls of every RPC as they come from a connection: metadata into the gatekeeper, and, if it lets
// the call in, a message of any length into the service's entry point. A call that the role table
// does not allow must not get there, and every call must end.

#include <fuzzer/FuzzedDataProvider.h>
#include <grpcpp/test/default_reactor_test_peer.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/role.h"
#include "common/transport/chunk_codec.h"
#include "server/coordinator/coordinator.h"
#include "server/rpc/gatekeeper.h"
#include "server/rpc/role_table.h"
#include "server/rpc/services.h"
#include "tests/fuzz/calls.h"
#include "tests/fuzz/message_maker.h"
#include "tests/fuzz/small_shard.h"

namespace percentdelta {
namespace {

constexpr int kMaxCalls = 24;
constexpr absl::string_view kPaths[] = {
    "/percentdelta.v1.Coordinator/GetJob",
    "/percentdelta.v1.Coordinator/AcquireLease",
    "/percentdelta.v1.Coordinator/CompleteLease",
    "/percentdelta.v1.Coordinator/RenewLease",
    "/percentdelta.v1.Coordinator/TakeCheckpoint",
    "/percentdelta.v1.Coordinator/GetProgress",
    "/percentdelta.v1.Coordinator/Heartbeat",
    "/percentdelta.v1.Coordinator/ReportStatistics",
    "/percentdelta.v1.ParameterServer/Pull",
    "/percentdelta.v1.ParameterServer/Push",
    "/percentdelta.v1.ParameterServer/ReduceNorms",
    "/percentdelta.v1.ParameterServer/Identify",
    "/percentdelta.v1.Statistics/GetUpdateStatistics",
    "/percentdelta.v1.Statistics/WatchUpdateStatistics",
    "/percentdelta.v1.Coordinator/Pause",
    "/percentdelta.v1.Coordinator/Resume",
    "/percentdelta.v1.Coordinator/Drain",
};
constexpr Role kRoles[] = {Role::kServer, Role::kWorker, Role::kOperator, Role::kViewer};

const SteadyClock& TheClock() {
  static const SteadyClock* const kClock = new SteadyClock;
  return *kClock;
}

std::string TokenOf(Role role) { return absl::StrCat("token-of-", RoleName(role)); }

std::shared_ptr<grpc::AuthMetadataProcessor> TheGatekeeper() {
  static const auto* const kGatekeeper = [] {
    std::string lines;
    for (const Role role : kRoles) {
      absl::StrAppend(&lines, RoleName(role), " ", HashOfToken(TokenOf(role)), "\n");
    }
    return new std::shared_ptr<grpc::AuthMetadataProcessor>(MakeGatekeeper(
        std::make_shared<const AccessPolicy>("", *TokenTable::Parse("tokens", lines)),
        {std::make_shared<RefusalLog>(MakeSilentLogger(), TheClock()), nullptr}));
  }();
  return *kGatekeeper;
}

Coordinator::Options CoordinatorOptions() {
  Coordinator::Options options;
  options.job = TinyJob();
  options.first_generation = kSmallGeneration;
  options.history_steps = 3;
  options.clock = &TheClock();
  options.log = MakeSilentLogger();
  return options;
}

class Services {
 public:
  explicit Services(FuzzedDataProvider& input)
      : input_(input),
        refusals_(MakeSilentLogger(), TheClock()),
        coordinator_(CoordinatorOptions()) {
    for (const uint64_t generation : {uint64_t{0}, kSmallGeneration}) {
      FUZZ_CHECK(
          coordinator_
              .Heartbeat(
                  {0, 1, coordinator_.job_hash(), "localhost:5000", 7, generation, {}, "", 0, {}})
              .ok());
    }
  }

  ~Services() {
    for (const auto& call : unary_) call->End();
    for (const auto& call : writers_) {
      if (call->written() != nullptr) call->Written(false);
      call->End();
    }
    for (const auto& call : readers_) {
      call->Deliver(nullptr);
      call->End();
    }
    coordinator_.Close();
  }

  void CallOne() {
    const auto index = input_.ConsumeIntegralInRange<size_t>(0, std::size(kPaths) - 1);
    const Role role = input_.PickValueInArray(kRoles);
    const bool known = input_.ConsumeIntegralInRange<int>(0, 7) > 0;
    const std::string authorization =
        known ? absl::StrCat("Bearer ", TokenOf(role)) : input_.ConsumeRandomLengthString(64);
    const std::string path = known || input_.ConsumeBool() ? std::string(kPaths[index])
                                                           : input_.ConsumeRandomLengthString(64);
    const bool let_in = Ask(path, authorization);
    if (known) FUZZ_CHECK(let_in == MayCall(role, path));
    if (let_in && path == kPaths[index]) Handle(index);
  }

 private:
  static bool Ask(const std::string& path, const std::string& authorization) {
    grpc::AuthMetadataProcessor::InputMetadata metadata;
    metadata.emplace(":path", grpc::string_ref(path.data(), path.size()));
    metadata.emplace("authorization", grpc::string_ref(authorization.data(), authorization.size()));
    grpc::AuthMetadataProcessor::OutputMetadata consumed;
    grpc::AuthMetadataProcessor::OutputMetadata response;
    return TheGatekeeper()->Process(metadata, nullptr, &consumed, &response).ok();
  }

  template <typename Request>
  grpc::ByteBuffer MakeRequest() {
    if (input_.ConsumeIntegralInRange<int>(0, 3) > 0) {
      return EncodeMessage(MakeMessage<Request>(input_));
    }
    const grpc::Slice slice(input_.ConsumeRandomLengthString(4096));
    return grpc::ByteBuffer(&slice, 1);
  }

  using UnaryMethod = std::function<grpc::ServerUnaryReactor*(
      grpc::CallbackServerContext*, const grpc::ByteBuffer*, grpc::ByteBuffer*)>;

  void CallUnary(const grpc::ByteBuffer& bytes, const UnaryMethod& method) {
    const grpc::ByteBuffer& request = messages_.emplace_back(bytes);
    grpc::ByteBuffer& response = messages_.emplace_back();
    grpc::CallbackServerContext& context = contexts_.emplace_back();
    const grpc::testing::DefaultReactorTestPeer peer(&context);
    grpc::ServerUnaryReactor* const reactor = method(&context, &request, &response);
    FUZZ_CHECK(reactor != nullptr);
    if (reactor == peer.reactor()) {
      FUZZ_CHECK(peer.test_status_set());
    } else {
      unary_.push_back(std::make_unique<FakeUnary>(reactor));
    }
  }

  template <typename Request, typename Service>
  void Unary(Service& service,
             grpc::ServerUnaryReactor* (Service::*method)(grpc::CallbackServerContext*,
                                                          const grpc::ByteBuffer*,
                                                          grpc::ByteBuffer*)) {
    CallUnary(MakeRequest<Request>(), [&](auto* context, auto* request, auto* response) {
      return (service.*method)(context, request, response);
    });
  }

  template <typename Request, typename Service>
  void Writer(Service& service, grpc::ServerWriteReactor<grpc::ByteBuffer>* (Service::*method)(
                                    grpc::CallbackServerContext*, const grpc::ByteBuffer*)) {
    const grpc::ByteBuffer& request = messages_.emplace_back(MakeRequest<Request>());
    writers_.push_back(std::make_unique<FakeWriter<grpc::ByteBuffer>>(
        (service.*method)(&contexts_.emplace_back(), &request)));
    for (int i = 0; i < 4 && writers_.back()->written() != nullptr; ++i) {
      writers_.back()->Written(input_.ConsumeBool());
    }
  }

  void Push() {
    grpc::ByteBuffer& response = messages_.emplace_back();
    readers_.push_back(std::make_unique<FakeReader<grpc::ByteBuffer>>(
        parameters_.Push(&contexts_.emplace_back(), &response)));
    while (input_.ConsumeBool()) {
      const grpc::ByteBuffer message = MakeRequest<v1::PushRequest>();
      if (!readers_.back()->Deliver(&message)) return;
    }
  }

  // In the order of kPaths.
  void Handle(size_t index) {
    using Coordinator = CoordinatorService;
    using Parameters = ParameterServerService;
    switch (index) {
      case 0:
        return Unary<v1::GetJobRequest>(service_, &Coordinator::GetJob);
      case 1:
        return Unary<v1::AcquireLeaseRequest>(service_, &Coordinator::AcquireLease);
      case 2:
        return Unary<v1::CompleteLeaseRequest>(service_, &Coordinator::CompleteLease);
      case 3:
        return Unary<v1::RenewLeaseRequest>(service_, &Coordinator::RenewLease);
      case 4:
        return Unary<v1::TakeCheckpointRequest>(service_, &Coordinator::TakeCheckpoint);
      case 5:
        return Unary<v1::GetProgressRequest>(service_, &Coordinator::GetProgress);
      case 6:
        return Unary<v1::HeartbeatRequest>(service_, &Coordinator::Heartbeat);
      case 7:
        return Unary<v1::ReportStatisticsRequest>(service_, &Coordinator::ReportStatistics);
      case 8:
        return Writer<v1::PullRequest>(parameters_, &Parameters::Pull);
      case 9:
        return Push();
      case 10:
        return Unary<v1::ReduceNormsRequest>(parameters_, &Parameters::ReduceNorms);
      case 11:
        return Unary<v1::IdentifyRequest>(parameters_, &Parameters::Identify);
      case 12:
        return Unary<v1::GetUpdateStatisticsRequest>(statistics_,
                                                     &StatisticsService::GetUpdateStatistics);
      case 13:
        return Writer<v1::WatchUpdateStatisticsRequest>(statistics_,
                                                        &StatisticsService::WatchUpdateStatistics);
      case 14:
        return Unary<v1::PauseRequest>(service_, &Coordinator::Pause);
      case 15:
        return Unary<v1::ResumeRequest>(service_, &Coordinator::Resume);
      default:
        return Unary<v1::DrainRequest>(service_, &Coordinator::Drain);
    }
  }

  FuzzedDataProvider& input_;
  RefusalLog refusals_;
  CallLimiter limiter_{LimiterOptions()};
  percentdelta::Coordinator coordinator_;
  const SmallShard small_;
  ParameterServerService parameters_{small_.shard(), {0, "hash", 7}, limiter_};
  CoordinatorService service_{coordinator_, refusals_, limiter_};
  StatisticsService statistics_{coordinator_.statistics(), limiter_};
  std::deque<grpc::ByteBuffer> messages_;  // before the calls, which refer to them
  std::deque<grpc::CallbackServerContext> contexts_;
  std::vector<std::unique_ptr<FakeUnary>> unary_;
  std::vector<std::unique_ptr<FakeWriter<grpc::ByteBuffer>>> writers_;
  std::vector<std::unique_ptr<FakeReader<grpc::ByteBuffer>>> readers_;
};

}  // namespace
}  // namespace percentdelta

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  percentdelta::Services services(input);
  for (int calls = 0; calls < percentdelta::kMaxCalls && input.remaining_bytes() > 0; ++calls) {
    services.CallOne();
  }
  return 0;
}
