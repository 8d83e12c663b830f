// SPDX-License-Identifier: Apache-2.0

// A client of HTTP for tests: one connection, bytes in and out.

#ifndef PERCENTDELTA_TESTS_SERVER_HTTP_HTTP_CLIENT_H_
#define PERCENTDELTA_TESTS_SERVER_HTTP_HTTP_CLIENT_H_

#include <string>

#include "common/base/descriptors.h"

namespace percentdelta {

class HttpClient {
 public:
  // Connects to 127.0.0.1. A read ends after 20 s.
  explicit HttpClient(int port);

  void Send(const std::string& bytes);

  // Reads until the text contains `end`, or the connection ends.
  std::string ReadUntil(const std::string& end);
  std::string ReadAll() { return ReadUntil(std::string("\0 never", 7)); }

 private:
  UniqueDescriptor socket_;
};

// Sends a GET with these further headers ("Name: value\r\n"), and returns the whole answer.
std::string Get(int port, const std::string& path, const std::string& headers = "");

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_HTTP_HTTP_CLIENT_H_
