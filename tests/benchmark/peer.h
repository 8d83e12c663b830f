// Another program that does the same work, to be compared with: it runs beside the benchmark and
// works when it is told to.

#ifndef PERCENTDELTA_TESTS_BENCHMARK_PEER_H_
#define PERCENTDELTA_TESTS_BENCHMARK_PEER_H_

#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

namespace percentdelta {

// Not thread-safe. For every line on its standard input, a peer does its work once and answers with
// a line: the milliseconds it took. In between it is stopped. The destructor ends it.
class Peer {
 public:
  // `arguments` begins with the program's path.
  explicit Peer(const std::vector<std::string>& arguments);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Has it work once; milliseconds by its own clock. Negative: it has ended.
  double Run();

 private:
  pid_t pid_ = -1;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

// Add benchmarks against the program at that path: of the gradient; of a push and a pull.
void RegisterGradientPeer(const std::string& name, const std::string& program);
void RegisterTransferPeer(const std::string& name, const std::string& program);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_BENCHMARK_PEER_H_
