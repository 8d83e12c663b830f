// SPDX-License-Identifier: Apache-2.0

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

// gRPC 1.51 runs clients' callbacks on its own threads, which end with the last channel that has
// used them. Ending them is a race that aborts the process (an assertion in its ref_counted.h,
// about once in ten exits here). So one channel uses them and is never destroyed.
struct CallbackThreads {
  CallbackThreads()
      : stub(grpc::CreateChannel("unix:/dev/null/nothing", grpc::InsecureChannelCredentials())),
        request(&nothing, 1) {
    stub.UnaryCall(&context, "/nothing/Nothing", {}, &request, &response, [](const auto&) {});
  }

  grpc::GenericStub stub;
  grpc::ClientContext context;
  grpc::Slice nothing;
  grpc::ByteBuffer request;
  grpc::ByteBuffer response;
};

// Makes gRPC resolve names with getaddrinfo, like every other program. Its default in 1.51 is a DNS
// client (c-ares) that ignores nsswitch.conf: no mDNS, myhostname, LDAP or modules of a container.
// The only setting is this variable, which gRPC reads on first use. Set it before main begins,
// while there is a single thread.
[[gnu::constructor]] void UseSystemResolver() {
  constexpr int kDoNotOverwrite = 0;
  setenv("GRPC_DNS_RESOLVER", "native", kDoNotOverwrite);
}

// Adds the scheme, so that nothing in `address` can be taken for one, and escapes characters that
// are not allowed in a URI, such as brackets and "%".
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

// No server can listen here: calls fail with UNAVAILABLE.
constexpr char kUnreachable[] = "dns:///localhost:0";

void SetLimits(grpc::ChannelArguments& arguments) {
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
}

void SetKeepalive(grpc::ChannelArguments& arguments) {
  // Off by default: a peer whose machine is gone would look alive until the kernel gives up, after
  // minutes. The timeout is also TCP's user timeout: the connection ends if bytes are not
  // acknowledged for this long.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kClientKeepaliveMs / 2);
  // Also while the connection is idle, and without a limit: if the connections to all servers are
  // half open, all are detected at the same time, not one after the other as each is called.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

void SetConnecting(grpc::ChannelArguments& arguments) {
  // On by default, and Docker sets http_proxy in every container: calls between machines of one
  // network would go to an internet proxy, or hang without one. Covers grpc_proxy, https_proxy and
  // http_proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Despite its name, this is the timeout of an attempt. The other two are the pauses between
  // attempts: the default of up to 120 s would make a restarted server look dead.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A restarted container has a new address: resolve its name again soon. The default is 30 s.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  // DNS servers must not be able to configure calls (by TXT records, with c-ares).
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
}

}  // namespace

// Defaults that stay: gRPC resends calls that have certainly not reached the server
// (GRPC_ARG_ENABLE_RETRIES), which is safe for all our calls; flow control adapts its window to the
// path (GRPC_ARG_HTTP2_BDP_PROBE), up to what fast and long paths need; a channel that was idle for
// 30 minutes disconnects, and reconnects with the next call.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<const ClientCredentials>& credentials) {
  static const auto* const kCallbackThreads = new CallbackThreads;
  (void)kCallbackThreads;
  grpc::ChannelArguments arguments;
  SetLimits(arguments);
  SetKeepalive(arguments);
  SetConnecting(arguments);
  const bool allowed = CheckSecurityOf("address", address, SecurityOf(credentials)).ok();
  return grpc::CreateCustomChannel(
      IsHostAndPort(address) && allowed ? TargetOf(address) : kUnreachable,
      credentials == nullptr ? grpc::InsecureChannelCredentials() : credentials->channel(),
      arguments);
}

void ResetBackoff(grpc::Channel& channel) {
  grpc::experimental::ChannelResetConnectionBackoff(&channel);
}

}  // namespace percentdelta
