#include "common/command_line.h"

#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <iostream>

#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace percentdelta {
namespace {

// The name in "--name=value", "-name" or "--noname"; empty if the word is no flag.
absl::string_view FlagName(absl::string_view word) {
  if (!absl::ConsumePrefix(&word, "-") || word.empty()) return "";
  absl::ConsumePrefix(&word, "-");
  return word.substr(0, word.find('='));
}

bool IsFlag(absl::string_view name) {
  if (absl::FindCommandLineFlag(name) != nullptr) return true;
  return absl::ConsumePrefix(&name, "no") && absl::FindCommandLineFlag(name) != nullptr;
}

// absl would exit with 1.
void CheckFlags(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--") return;
    const absl::string_view name = FlagName(word);
    if (name.empty() || IsFlag(name) || absl::StartsWith(name, "help")) continue;
    std::cerr << absl::string_view(argv[0]).substr(absl::string_view(argv[0]).rfind('/') + 1)
              << ": there is no flag --" << name << " (--help lists them)\n";
    std::exit(kExitUsage);
  }
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

std::vector<std::string> ParseCommandLine(int argc, char** argv, const std::string& usage) {
  gpr_set_log_function([](gpr_log_func_args*) {});
  absl::SetProgramUsageMessage(usage);
  CheckFlags(argc, argv);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  return {rest.begin() + 1, rest.end()};
}

void BlockStopSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

int AwaitStopSignal() {
  const sigset_t signals = StopSignals();
  int signal = 0;
  sigwait(&signals, &signal);
  return signal;
}

}  // namespace percentdelta
