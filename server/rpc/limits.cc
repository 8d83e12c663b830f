// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/limits.h"

#include <algorithm>
#include <functional>
#include <set>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/base/text.h"

namespace percentdelta {
namespace {

constexpr int64_t kMaxCount = 1'000'000;
constexpr int64_t kMaxBytes = int64_t{1} << 50;

// One limit by its name.
struct Field {
  std::string name;
  std::string meaning;
  std::function<std::string(const Limits&)> get;
  std::function<bool(Limits&, absl::string_view)> set;  // false: not a valid value
  std::string expected;
};

template <typename T>
Field NumberField(std::string name, std::string meaning, int64_t max,
                  const std::function<T&(Limits&)>& member) {
  return {std::move(name), std::move(meaning),
          [member](const Limits& limits) {
            Limits copy = limits;
            return absl::StrCat(member(copy));
          },
          [member, max](Limits& limits, absl::string_view text) {
            int64_t value = 0;
            if (!absl::SimpleAtoi(text, &value) || value < 1 || value > max) return false;
            member(limits) = static_cast<T>(value);
            return true;
          },
          absl::StrCat("a number in 1..", max)};
}

Field DurationField(std::string name, std::string meaning,
                    const std::function<absl::Duration&(Limits&)>& member) {
  return {std::move(name), std::move(meaning),
          [member](const Limits& limits) {
            Limits copy = limits;
            return absl::FormatDuration(member(copy));
          },
          [member](Limits& limits, absl::string_view text) {
            absl::Duration value;
            if (!absl::ParseDuration(text, &value) || value < absl::Seconds(1) ||
                value > absl::Hours(24)) {
              return false;
            }
            member(limits) = value;
            return true;
          },
          "a duration in 1s..24h, such as 30s"};
}

std::vector<Field> Fields() {
  std::vector<Field> fields;
  const auto count = [&](std::string name, std::string meaning,
                         const std::function<int&(Limits&)>& get) {
    fields.push_back(NumberField<int>(std::move(name), std::move(meaning), kMaxCount, get));
  };
  const auto bytes = [&](std::string name, std::string meaning,
                         const std::function<int64_t&(Limits&)>& get) {
    fields.push_back(NumberField<int64_t>(std::move(name), std::move(meaning), kMaxBytes, get));
  };
  for (int i = 0; i < kCallKinds; ++i) {
    const std::string name(NameOf(static_cast<CallKind>(i)));
    count(name, "of all clients at a time", [i](Limits& l) -> int& { return l.calls[i].total; });
    count(absl::StrCat(name, "_per_connection"), "of one connection at a time",
          [i](Limits& l) -> int& { return l.calls[i].per_connection; });
  }
  count("connections", "open at a time", [](Limits& l) -> int& { return l.connections; });
  count("streams", "calls of any kind on one connection at a time",
        [](Limits& l) -> int& { return l.streams; });
  count("workers", "names of workers within a minute", [](Limits& l) -> int& { return l.workers; });
  count("queries_per_second", "of one connection",
        [](Limits& l) -> int& { return l.queries_per_second; });
  bytes("transport_bytes", "of connections, calls and messages that are being received",
        [](Limits& l) -> int64_t& { return l.transport_bytes; });
  bytes("unanswered_bytes", "that one connection may send without an answer",
        [](Limits& l) -> int64_t& { return l.unanswered_bytes; });
  bytes("push_bytes", "of gradients that are being received; pushes beyond wait",
        [](Limits& l) -> int64_t& { return l.push_bytes; });
  fields.push_back(DurationField("stall", "after which a call on which nothing moves is ended",
                                 [](Limits& l) -> absl::Duration& { return l.stall; }));
  fields.push_back(DurationField("handshake", "for a connection's first message",
                                 [](Limits& l) -> absl::Duration& { return l.handshake; }));
  count("refusals", "of one connection within 10 s, after which it is closed",
        [](Limits& l) -> int& { return l.refusals; });
  return fields;
}

}  // namespace

absl::string_view NameOf(CallKind kind) {
  switch (kind) {
    case CallKind::kPush:
      return "pushes";
    case CallKind::kPull:
      return "pulls";
    case CallKind::kLease:
      return "leases";
    case CallKind::kNorms:
      return "norms";
    case CallKind::kWatch:
      return "watchers";
    case CallKind::kQuery:
      return "queries";
  }
  return "calls";
}

absl::StatusOr<Limits> ParseLimits(absl::string_view text) {
  Limits limits;
  const std::vector<Field> fields = Fields();
  std::set<std::string> given;
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(part, absl::MaxSplits('=', 1));
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [&](const Field& each) { return each.name == pair.first; });
    if (field == fields.end()) {
      const auto add_name = [](std::string* out, const Field& each) { out->append(each.name); };
      return absl::InvalidArgumentError(
          absl::StrCat("no limit \"", EscapeForLog(pair.first, kMaxNameBytes), "\"; there are ",
                       absl::StrJoin(fields, ", ", add_name)));
    }
    if (!given.insert(field->name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(field->name, ": expected it once, got it twice"));
    }
    if (!field->set(limits, pair.second)) {
      return absl::InvalidArgumentError(
          absl::StrCat(field->name, ": expected ", field->expected, ", got \"",
                       EscapeForLog(pair.second, kMaxNameBytes), "\""));
    }
  }
  return limits;
}

std::string LimitsHelp() {
  std::string help;
  for (const Field& field : Fields()) {
    absl::StrAppend(&help, "  ", field.name, "=", field.get(Limits()), "  ", field.meaning, "\n");
  }
  return help;
}

}  // namespace percentdelta
