// SPDX-License-Identifier: Apache-2.0

// SHA-256, on OpenSSL.

#ifndef PERCENTDELTA_COMMON_BASE_SHA256_H_
#define PERCENTDELTA_COMMON_BASE_SHA256_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace percentdelta {

// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();

  // Appends to the message that is hashed. May be called any number of times.
  void Update(absl::string_view bytes);

  // Returns the hash as 64 lower-case hexadecimal digits. Called once, last.
  std::string Hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(absl::string_view bytes);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_SHA256_H_
