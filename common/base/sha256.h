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

  // May be called any number of times; the pieces count as one text.
  void Update(absl::string_view bytes);

  // Ends the text: 64 lower-case hexadecimal digits. To be called once.
  std::string Hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(absl::string_view bytes);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_SHA256_H_
