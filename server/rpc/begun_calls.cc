// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/begun_calls.h"

#include <grpc/grpc.h>
#include <grpc/support/alloc.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using Json = nlohmann::json;

// Parses an answer of gRPC, and frees it. Null: it is none.
Json Take(char* answer) {
  const std::unique_ptr<char, decltype(&gpr_free)> text(answer, &gpr_free);
  if (text == nullptr) return nullptr;
  return Json::parse(text.get(), nullptr, /*allow_exceptions=*/false);
}

// What is at a path of names; null: nothing.
Json At(const Json& json, const char* path) {
  const Json::json_pointer pointer(path);
  return json.is_object() && json.contains(pointer) ? json.at(pointer) : Json();
}

// The JSON form of protobuf's 64-bit numbers is a string. 0 is left out.
int64_t NumberAt(const Json& json, const char* path) {
  const Json value = At(json, path);
  int64_t number = 0;
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_string() && absl::SimpleAtoi(value.get<std::string>(), &number)) return number;
  return 0;
}

// Calls `visit` with each element of a list that comes in pages, in the order of the ids at `id`.
template <typename Page, typename Visit>
void VisitPages(const char* list, const char* id, const Page& page, const Visit& visit) {
  int64_t next = 0;
  while (true) {
    const Json answer = page(next);
    const Json elements = At(answer, list);
    if (!elements.is_array() || elements.empty()) return;
    for (const Json& element : elements) {
      const int64_t number = NumberAt(element, id);
      visit(element, number);
      next = number + 1;
    }
    if (At(answer, "/end") == true) return;
  }
}

void AddSocket(const Json& reference, int64_t id, int port, BegunCalls& calls) {
  // Its name is "chttp2 " and the peer.
  std::string name = At(reference, "/name").is_string() ? reference["name"].get<std::string>() : "";
  name.erase(0, name.rfind(' ') + 1);
  const Json socket = Take(grpc_channelz_get_socket(id));
  if (NumberAt(socket, "/socket/local/tcpip_address/port") != port) return;
  calls[name] = NumberAt(socket, "/socket/data/streamsStarted");
}

}  // namespace

BegunCalls CountBegunCalls(int port) {
  BegunCalls calls;
  VisitPages(
      "/server", "/ref/serverId",
      [](int64_t first) { return Take(grpc_channelz_get_servers(first)); },
      [&](const Json& /*server*/, int64_t server) {
        VisitPages(
            "/socketRef", "/socketId",
            [&](int64_t first) {
              return Take(grpc_channelz_get_server_sockets(server, first, /*max_results=*/0));
            },
            [&](const Json& reference, int64_t id) { AddSocket(reference, id, port, calls); });
      });
  return calls;
}

}  // namespace percentdelta
