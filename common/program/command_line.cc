// SPDX-License-Identifier: Apache-2.0

#include "common/program/command_line.h"

#include <grpc/support/log.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <string>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr size_t kMaxShown = 200;  // bytes of the user's input

// The name in "--name=value", "-name" or "--noname"; empty if the word is not a flag.
absl::string_view FlagName(absl::string_view word) {
  if (!absl::ConsumePrefix(&word, "-") || word.empty()) return "";
  absl::ConsumePrefix(&word, "-");
  return word.substr(0, word.find('='));
}

// Turns "--no-restore=x-y" into "--no_restore=x-y".
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

// The names of the flags on the command line.
std::set<std::string, std::less<>>& GivenFlags() {
  static std::set<std::string, std::less<>> names;
  return names;
}

[[noreturn]] void Refuse(absl::string_view program, absl::string_view message) {
  std::cerr << program.substr(program.rfind('/') + 1) << ": " << message << " (see --help)\n";
  std::exit(kExitUsage);
}

// Rejects unknown flags and missing or invalid values; absl would exit with 1.
void CheckFlags(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--") return;
    const absl::string_view name = FlagName(word);
    if (name.empty() || absl::StartsWith(name, "help")) continue;
    if (!IsFlag(name))
      Refuse(argv[0], absl::StrCat("there is no flag --", EscapeForLog(name, kMaxShown)));
    absl::CommandLineFlag* const flag = absl::FindCommandLineFlag(name);
    if (flag == nullptr) {  // --noname
      GivenFlags().emplace(name.substr(2));
      continue;
    }
    GivenFlags().emplace(name);
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
    Refuse(argv[0],
           absl::StrCat("--", name, ": invalid value \"", EscapeForLog(value, kMaxShown), "\""));
  }
}

// Ends a program that only had to print `text`.
[[noreturn]] void PrintAndExit(absl::string_view program, const std::string& text) {
  std::cout << text;
  if (std::cout.flush()) std::exit(0);
  std::cerr << program.substr(program.rfind('/') + 1) << ": cannot write to standard output\n";
  std::exit(kExitFailure);
}

std::string HelpText(const std::string& usage, bool has_version) {
  std::string text = usage;
  std::map<absl::string_view, const absl::CommandLineFlag*> flags;  // by name
  const auto add_flags_of = [&flags](absl::string_view file) {
    for (const auto& [name, flag] : absl::GetAllFlags()) {
      if (absl::EndsWith(flag->Filename(), file)) flags[name] = flag;
    }
  };
  add_flags_of("/main.cc");
  // A program without flags there names all of them in its usage.
  if (!flags.empty()) {
    for (const char* file : {"/log_flags.cc", "/metrics_flags.cc", "/security_flags.cc"}) {
      add_flags_of(file);
    }
  }
  if (!flags.empty()) absl::StrAppend(&text, "\n\nFlags:\n");
  for (const auto& [name, flag] : flags) {
    const std::string value = flag->DefaultValue();
    absl::StrAppend(&text, "  --", name, value.empty() ? "" : "=", value, "\n      ", flag->Help(),
                    "\n");
  }
  if (!flags.empty() && has_version) {
    absl::StrAppend(&text, "  --version\n      prints version, revision and libraries\n");
  }
  return text;
}

// Replaces absl's help, which exits with 1 as if something had failed.
void ShowHelpIfAsked(int argc, char** argv, const std::string& usage, const std::string& version) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--") return;
    if (word == "--help" || word == "-help" || word == "-h") {
      PrintAndExit(argv[0], HelpText(usage, !version.empty()));
    }
    if (!version.empty() && (word == "--version" || word == "-version")) {
      PrintAndExit(argv[0], version);
    }
  }
}

// For int64_t and absl::Duration.
template <typename T, typename Text>
absl::Status CheckWithin(absl::string_view what, T value, T min, T max, const Text& text) {
  if (value < min) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": expected at least ", text(min), ", got ", text(value)));
  }
  if (value > max) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": expected at most ", text(max), ", got ", text(value)));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> ParseCommandLine(int argc, char** argv, const std::string& usage,
                                          const std::string& version) {
  // The words, with flags spelled as absl expects. Static, because they must outlive the call.
  static std::vector<std::string> words;
  std::vector<char*> pointers;
  words.assign(argv, argv + argc);
  for (size_t i = 1; i < words.size() && words[i] != "--"; ++i) SpellWithUnderscores(words[i]);
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  argv = pointers.data();
  gpr_set_log_function([](gpr_log_func_args*) {});
  ShowHelpIfAsked(argc, argv, usage, version);
  absl::SetProgramUsageMessage(usage);
  CheckFlags(argc, argv);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  return {rest.begin() + 1, rest.end()};
}

bool IsGiven(absl::string_view flag) { return GivenFlags().count(flag) > 0; }

absl::Status CheckRange(absl::string_view what, int64_t value, int64_t min, int64_t max) {
  return CheckWithin(what, value, min, max, [](int64_t number) { return number; });
}

absl::Status CheckRange(absl::string_view what, absl::Duration value, absl::Duration min,
                        absl::Duration max) {
  return CheckWithin(what, value, min, max,
                     [](absl::Duration time) { return absl::FormatDuration(time); });
}

}  // namespace percentdelta
