#include "common/channel.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

namespace percentdelta {
namespace {

// gRPC 1.51 runs clients' callbacks on threads of its own, which end with the last channel that
// has used them; their end is a race that aborts the process (an assertion in its ref_counted.h,
// about once in ten exits here). So one channel uses them and is never let go of.
struct CallbackThreads {
  CallbackThreads()
      : stub(grpc::CreateChannel("unix:/dev/null/nobody", grpc::InsecureChannelCredentials())),
        request(&nothing, 1) {
    stub.UnaryCall(&context, "/nothing/Nothing", {}, &request, &response, [](const auto&) {});
  }

  grpc::GenericStub stub;
  grpc::ClientContext context;
  grpc::Slice nothing;
  grpc::ByteBuffer request;
  grpc::ByteBuffer response;
};

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  static const auto* const kCallbackThreads = new CallbackThreads;
  (void)kCallbackThreads;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kClientKeepaliveMs / 2);
  // Also while it is idle, and as often as it takes: when the connections to all servers are half
  // open, that is noticed of all at once, not of one after the other as each is called.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A restarted container has a new address: ask for it again soon.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void ConnectAgain(grpc::Channel& channel) {
  grpc::experimental::ChannelResetConnectionBackoff(&channel);
}

}  // namespace percentdelta
