// SPDX-License-Identifier: Apache-2.0

// Another program that does the same work, for comparison. It runs next to the benchmark, and works
// on request.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_PEER_H_
#define PERCENTDELTA_TESTS_BENCHMARK_PEER_H_

#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

namespace percentdelta {

// Not thread-safe. For every line on its standard input, a peer does its work once and prints a
// line with the milliseconds that it took. It is stopped (SIGSTOP) in between. The destructor ends
// it.
class Peer {
 public:
  // `arguments` begins with the program's path.
  explicit Peer(const std::vector<std::string>& arguments);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Makes the peer work once, and returns the milliseconds by its own clock; negative if it has
  // ended.
  double Run();

 private:
  pid_t pid_ = -1;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

// Register benchmarks of the gradient, and of a push and a pull, against the program at that path.
void RegisterGradientPeer(const std::string& name, const std::string& program);
void RegisterTransferPeer(const std::string& name, const std::string& program);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_PEER_H_
