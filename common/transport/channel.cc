#include "common/transport/channel.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstdint>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/address.h"

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

// Has gRPC resolve names by getaddrinfo, as every other program does. Its default in 1.51 is a DNS
// client (c-ares) that knows nothing of nsswitch.conf: neither mDNS nor myhostname, LDAP or a
// container's own modules. There is no setting for it but this variable, which gRPC reads when it
// is first used; so it is set before main begins, while there is one thread.
[[gnu::constructor]] void UseTheSystemsNames() {
  constexpr int kKeepTheUsersChoice = 0;
  setenv("GRPC_DNS_RESOLVER", "native", kKeepTheUsersChoice);
}

// With the scheme, so that nothing in `address` can be taken for one. Brackets and "%" are not
// allowed in a URI as they are.
std::string TargetOf(const std::string& address) {
  std::string target = "dns:///";
  for (const char c : address) {
    if (absl::ascii_isalnum(c) || absl::StrContains("-._:", c)) {
      target += c;
    } else {
      absl::StrAppend(&target, "%", absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
    }
  }
  return target;
}

// Where nobody can be: what is sent there fails with UNAVAILABLE.
constexpr char kNowhere[] = "dns:///localhost:0";

void SetLimits(grpc::ChannelArguments& arguments) {
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
}

void SetKeepalive(grpc::ChannelArguments& arguments) {
  // Off by default: a peer whose machine is gone would look alive until the kernel gives up, after
  // minutes. The timeout is TCP's user timeout as well: bytes that are not acknowledged for so long
  // end the connection.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kClientKeepaliveMs / 2);
  // Also while it is idle, and as often as it takes: when the connections to all servers are half
  // open, that is noticed of all at once, not of one after the other as each is called.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

void SetConnecting(grpc::ChannelArguments& arguments) {
  // On by default, and Docker puts http_proxy into every container: calls between machines of one
  // network would go to a proxy of the internet, or hang where there is none. It covers
  // grpc_proxy, https_proxy and http_proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // In spite of its name no pause but the time that an attempt has. The pauses between attempts are
  // the other two: the default of up to 120 s would make a restarted server look dead.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A restarted container has a new address: ask for it again soon. The default is 30 s.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  // Whoever may answer DNS queries does not get to configure calls (TXT records of c-ares).
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
}

}  // namespace

// Defaults that stay: calls that have certainly not reached the server are sent again by gRPC
// (GRPC_ARG_ENABLE_RETRIES), which all calls allow; flow control adapts its window to the path
// (GRPC_ARG_HTTP2_BDP_PROBE), up to what fast and long paths need; a channel that was idle for
// 30 minutes disconnects, and connects with the next call.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  static const auto* const kCallbackThreads = new CallbackThreads;
  (void)kCallbackThreads;
  grpc::ChannelArguments arguments;
  SetLimits(arguments);
  SetKeepalive(arguments);
  SetConnecting(arguments);
  return grpc::CreateCustomChannel(IsHostAndPort(address) ? TargetOf(address) : kNowhere,
                                   grpc::InsecureChannelCredentials(), arguments);
}

void ResetBackoff(grpc::Channel& channel) {
  grpc::experimental::ChannelResetConnectionBackoff(&channel);
}

}  // namespace percentdelta
