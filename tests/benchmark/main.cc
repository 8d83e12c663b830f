// SPDX-License-Identifier: Apache-2.0

// benchmarks [--gradient_peer=NAME=PROGRAM...] [--transfer_peer=NAME=PROGRAM...] [--rounds=N]
//            [GOOGLE-BENCHMARK-ARGUMENT...]
//
// --rounds: the number of rounds of the benchmarks of whole steps, which take long (default: 12).

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tests/benchmark/peer.h"
#include "tests/benchmark/step_benchmark.h"
#include "tests/benchmark/table.h"

namespace percentdelta {
namespace {

// Returns whether the word is the flag of a peer; if so, adds the peer.
bool TakePeer(const std::string& word, const std::string& flag,
              void (*add)(const std::string& name, const std::string& program)) {
  const size_t equals = word.find('=', flag.size());
  if (word.rfind(flag, 0) != 0 || equals == std::string::npos) return false;
  add(word.substr(flag.size(), equals - flag.size()), word.substr(equals + 1));
  return true;
}

// Returns whether the word is --rounds=N with N > 0; if so, sets `rounds`.
bool TakeRounds(absl::string_view word, int& rounds) {
  return absl::ConsumePrefix(&word, "--rounds=") && absl::SimpleAtoi(word, &rounds) && rounds > 0;
}

}  // namespace
}  // namespace percentdelta

int main(int argc, char** argv) {
  using percentdelta::TakePeer;
  int rounds = 12;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    if (TakePeer(argv[i], "--gradient_peer=", percentdelta::RegisterGradientPeer) ||
        TakePeer(argv[i], "--transfer_peer=", percentdelta::RegisterTransferPeer) ||
        percentdelta::TakeRounds(argv[i], rounds)) {
      continue;
    }
    rest.push_back(argv[i]);
  }
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 2;
  percentdelta::RegisterStepBenchmarks(rounds);
  percentdelta::Table table;
  benchmark::RunSpecifiedBenchmarks(&table);
  benchmark::Shutdown();
}
