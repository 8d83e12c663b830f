// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_server.h"

#include <civetweb.h>

#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace percentdelta {
namespace {

constexpr int kMaxBodyBytes = 4096;

std::string Header(const mg_connection* connection, const char* name) {
  const char* const value = mg_get_header(connection, name);
  return value == nullptr ? "" : value;
}

absl::string_view Reason(mg_connection* connection, int status) {
  return mg_get_response_code_text(connection, status);
}

// Sent with every response. `Connection: close`: a thread serves one request, and is free again.
constexpr char kHeaders[] =
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n";

bool Write(mg_connection* connection, absl::string_view bytes) {
  return bytes.empty() ||
         mg_write(connection, bytes.data(), bytes.size()) == static_cast<int>(bytes.size());
}

bool WriteHead(mg_connection* connection, const HttpResponse& response, bool has_length) {
  std::string head =
      absl::StrCat("HTTP/1.1 ", response.status, " ", Reason(connection, response.status),
                   "\r\nContent-Type: ", response.content_type, "\r\n", kHeaders);
  for (const auto& [name, value] : response.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  if (has_length) absl::StrAppend(&head, "Content-Length: ", response.body.size(), "\r\n");
  absl::StrAppend(&head, "\r\n");
  return Write(connection, head);
}

HttpRequest RequestOf(mg_connection* connection) {
  const mg_request_info& info = *mg_get_request_info(connection);
  HttpRequest request;
  request.method = info.request_method == nullptr ? "" : info.request_method;
  request.path = info.local_uri == nullptr ? "" : info.local_uri;
  request.query = info.query_string == nullptr ? "" : info.query_string;
  request.host = Header(connection, "Host");
  request.origin = Header(connection, "Origin");
  request.fetch_site = Header(connection, "Sec-Fetch-Site");
  request.authorization = Header(connection, "Authorization");
  request.cookie = Header(connection, "Cookie");
  request.last_event_id = Header(connection, "Last-Event-ID");
  if (request.method == "POST" && info.content_length > 0 && info.content_length <= kMaxBodyBytes) {
    request.body.resize(info.content_length);
    size_t read = 0;
    while (read < request.body.size()) {
      const int bytes = mg_read(connection, &request.body[read], request.body.size() - read);
      if (bytes <= 0) break;
      read += bytes;
    }
    request.body.resize(read);
  }
  return request;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(options)));
  HostPort listen = server->options_.listen;
  if (listen.host == "localhost") listen.host = "127.0.0.1";
  const std::string address = ToString(listen);
  const std::string threads =
      std::to_string(server->options_.max_streams + server->options_.request_threads);
  const std::string patience = std::to_string(absl::ToInt64Milliseconds(server->options_.patience));
  const char* settings[] = {"listening_ports",
                            address.c_str(),
                            "num_threads",
                            threads.c_str(),
                            "request_timeout_ms",
                            patience.c_str(),
                            "connection_queue",
                            "8",
                            "listen_backlog",
                            "16",
                            "tcp_nodelay",
                            "1",
                            "enable_auth_domain_check",
                            "no",
                            "enable_directory_listing",
                            "no",
                            nullptr};
  mg_callbacks callbacks{};
  callbacks.begin_request = &HttpServer::OnRequest;
  callbacks.log_message = [](const mg_connection*, const char*) { return 1; };
  mg_init_data init{&callbacks, server.get(), settings};
  char text[256] = "";
  unsigned code = 0;
  mg_error_data error{&code, text, sizeof(text)};
  server->context_ = mg_start2(&init, &error);
  if (server->context_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("http: cannot listen on ", address, ": ", text,
                                               "; is the port in use? Port 0 takes a free one"));
  }
  mg_server_port port{};
  if (mg_get_server_ports(server->context_, 1, &port) > 0) server->port_ = port.port;
  return server;
}

HttpServer::~HttpServer() {
  if (context_ != nullptr) mg_stop(context_);
}

int HttpServer::OnRequest(mg_connection* connection) {
  auto* const server = static_cast<HttpServer*>(mg_get_user_data(mg_get_context(connection)));
  return server->Answer(connection);
}

int HttpServer::Answer(mg_connection* connection) {
  const HttpRequest request = RequestOf(connection);
  HttpResponse response = options_.handle(request);
  if (response.next_part) {
    const absl::Cleanup left = [this] { --streams_; };
    if (++streams_ <= options_.max_streams) {
      Stream(connection, response);
      return response.status;
    }
    response = HttpResponse();
    response.status = 503;
    response.headers = {{"Retry-After", "5"}};
    response.body = absl::StrCat("expected at most ", options_.max_streams,
                                 " open pages, got one more; it is shown when one is closed\n");
  }
  if (WriteHead(connection, response, /*has_length=*/true) && request.method != "HEAD") {
    Write(connection, response.body);
  }
  return response.status;
}

void HttpServer::Stream(mg_connection* connection, const HttpResponse& response) {
  if (!WriteHead(connection, response, /*has_length=*/false)) return;
  if (!Write(connection, response.body)) return;
  while (const std::optional<std::string> part = response.next_part()) {
    if (!Write(connection, *part)) return;
  }
}

}  // namespace percentdelta
