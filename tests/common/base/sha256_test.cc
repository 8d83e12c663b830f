// SPDX-License-Identifier: Apache-2.0

#include "common/base/sha256.h"

#include <gtest/gtest.h>

#include <string>

namespace percentdelta {
namespace {

// The vectors are from FIPS 180-2, appendix B.

TEST(Sha256Test, OfNothing) {
  constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  EXPECT_EQ(Sha256Hex(""), kEmpty);
  EXPECT_EQ(Sha256().Hex(), kEmpty);
}

TEST(Sha256Test, OneBlock) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, TwoBlocks) {
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256Test, AMillionBytesInUnevenPieces) {
  const std::string bytes(1000000, 'a');
  Sha256 hash;
  size_t done = 0;
  for (size_t piece = 1; done < bytes.size(); piece = piece * 3 + 1) {
    hash.Update(absl::string_view(bytes).substr(done, piece));
    done += piece;
  }
  EXPECT_EQ(hash.Hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, ZeroBytesCount) {
  EXPECT_EQ(Sha256Hex(absl::string_view("\0", 1)),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  EXPECT_NE(Sha256Hex(absl::string_view("\0\0", 2)), Sha256Hex(absl::string_view("\0", 1)));
}

}  // namespace
}  // namespace percentdelta
