// SPDX-License-Identifier: Apache-2.0

#include "tests/server/http/http_client.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "absl/strings/str_cat.h"

namespace percentdelta {

HttpClient::HttpClient(int port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const timeval patience = {20, 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* const any = reinterpret_cast<const sockaddr*>(&address);
  EXPECT_EQ(connect(socket_.get(), any, sizeof(address)), 0);
}

void HttpClient::Send(const std::string& bytes) {
  EXPECT_EQ(send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

std::string HttpClient::ReadUntil(const std::string& end) {
  std::string text;
  char buffer[16384];
  while (text.find(end) == std::string::npos) {
    const ssize_t bytes = recv(socket_.get(), buffer, sizeof(buffer), 0);
    if (bytes <= 0) break;
    text.append(buffer, bytes);
  }
  return text;
}

std::string Get(int port, const std::string& path, const std::string& headers) {
  HttpClient client(port);
  client.Send(
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: 127.0.0.1:", port, "\r\n", headers, "\r\n"));
  return client.ReadAll();
}

}  // namespace percentdelta
