// benchmarks [--peer=NAME=PROGRAM...] [GOOGLE-BENCHMARK-ARGUMENT...]

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "tests/benchmark/peer.h"

int main(int argc, char** argv) {
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string flag = "--peer=";
    if (word.rfind(flag, 0) != 0) {
      rest.push_back(argv[i]);
      continue;
    }
    const size_t equals = word.find('=', flag.size());
    if (equals == std::string::npos) return 2;
    percentdelta::RegisterPeer(word.substr(flag.size(), equals - flag.size()),
                               word.substr(equals + 1));
  }
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
