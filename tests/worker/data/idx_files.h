// SPDX-License-Identifier: Apache-2.0

// Makes IDX files and gzip files of every shape, as strings.

#ifndef PERCENTDELTA_TESTS_WORKER_DATA_IDX_FILES_H_
#define PERCENTDELTA_TESTS_WORKER_DATA_IDX_FILES_H_

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>

#include "gtest/gtest.h"

namespace percentdelta {

// An IDX file of these dimensions, followed by `content`.
inline std::string Idx(std::initializer_list<uint32_t> dimensions, const std::string& content) {
  std::string file = {0, 0, 8, static_cast<char>(dimensions.size())};
  for (const uint32_t dimension : dimensions) {
    for (int shift = 24; shift >= 0; shift -= 8) file += static_cast<char>(dimension >> shift);
  }
  return file + content;
}

// A gzip file of one member, with a plain header or the one that is given.
inline std::string Gzip(const std::string& content, gz_header* header = nullptr) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  if (header != nullptr) {
    EXPECT_EQ(deflateSetHeader(&stream, header), Z_OK);
  }
  std::string input = content;
  std::string output(deflateBound(&stream, input.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(output.data());
  stream.avail_out = static_cast<uInt>(output.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  output.resize(stream.total_out);
  deflateEnd(&stream);
  return output;
}

// The same with all the optional parts of a header: FEXTRA, FNAME, FCOMMENT and FHCRC.
inline std::string GzipWithFullHeader(const std::string& content) {
  std::string extra(300, 'x');
  std::string name = "train-images-idx3-ubyte";
  std::string comment = "a comment";
  gz_header header = {};
  header.extra = reinterpret_cast<Bytef*>(extra.data());
  header.extra_len = static_cast<uInt>(extra.size());
  header.name = reinterpret_cast<Bytef*>(name.data());
  header.comment = reinterpret_cast<Bytef*>(comment.data());
  header.hcrc = 1;
  return Gzip(content, &header);
}

// Writes the file, and makes the folders above it.
inline void WriteBytes(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  EXPECT_TRUE(file.good()) << path;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_WORKER_DATA_IDX_FILES_H_
