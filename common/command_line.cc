#include "common/command_line.h"

#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

// "--no-restore=x-y" as "--no_restore=x-y".
void SpellWithUnderscores(std::string& word) {
  const std::string name(FlagName(word));
  if (name.empty()) return;
  const size_t begin = word.find(name);
  std::replace(word.begin() + begin, word.begin() + begin + name.size(), '-', '_');
}

bool IsFlag(absl::string_view name) {
  if (absl::FindCommandLineFlag(name) != nullptr) return true;
  return absl::ConsumePrefix(&name, "no") && absl::FindCommandLineFlag(name) != nullptr;
}

[[noreturn]] void Refuse(absl::string_view program, absl::string_view message) {
  std::cerr << program.substr(program.rfind('/') + 1) << ": " << message << " (see --help)\n";
  std::exit(kExitUsage);
}

// absl would exit with 1 for a flag that does not exist, without a value, or with a wrong one.
void CheckFlags(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--") return;
    const absl::string_view name = FlagName(word);
    if (name.empty() || absl::StartsWith(name, "help")) continue;
    if (!IsFlag(name)) Refuse(argv[0], absl::StrCat("there is no flag --", name));
    absl::CommandLineFlag* const flag = absl::FindCommandLineFlag(name);
    if (flag == nullptr) continue;  // --noname
    const size_t equals = word.find('=');
    std::string value = "true";
    if (equals != absl::string_view::npos) {
      value = std::string(word.substr(equals + 1));
    } else if (!flag->IsOfType<bool>()) {
      if (++i == argc) Refuse(argv[0], absl::StrCat("--", name, ": expected a value after it"));
      value = argv[i];
    }
    std::string error;
    if (flag->ParseFrom(value, &error)) continue;
    Refuse(argv[0], absl::StrCat("--", name, ": no value for it: \"", value, "\""));
  }
}

// absl's own help exits with 1, as if something had failed.
void ShowHelpIfAsked(int argc, char** argv, const std::string& usage) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word != "--help" && word != "-help" && word != "-h") continue;
    std::cout << usage;
    std::map<absl::string_view, const absl::CommandLineFlag*> flags;  // by name
    for (const auto& [name, flag] : absl::GetAllFlags()) {
      if (absl::EndsWith(flag->Filename(), "/main.cc")) flags[name] = flag;
    }
    if (!flags.empty()) std::cout << "\n\nFlags:\n";
    for (const auto& [name, flag] : flags) {
      const std::string value = flag->DefaultValue();
      std::cout << "  --" << name << (value.empty() ? "" : "=" + value) << "\n      "
                << flag->Help() << "\n";
    }
    std::exit(std::cout.flush() ? 0 : kExitFailure);
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
  // The words with flags spelled as absl has them; they live as long as the program, as argv does.
  static std::vector<std::string> words;
  std::vector<char*> pointers;
  words.assign(argv, argv + argc);
  for (size_t i = 1; i < words.size() && words[i] != "--"; ++i) SpellWithUnderscores(words[i]);
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  argv = pointers.data();
  gpr_set_log_function([](gpr_log_func_args*) {});
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk
  ShowHelpIfAsked(argc, argv, usage);
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
