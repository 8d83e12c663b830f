// SPDX-License-Identifier: Apache-2.0

#include "client/pdctl/statistics_format.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/base/text.h"
#include "nlohmann/json.hpp"

namespace percentdelta {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kStep[] = "step";

constexpr int kMinNameWidth = 16;

// Escapes a name, which may come from an untrusted server, so that a row stays one line.
std::string Name(const std::string& text) { return EscapeForLog(text, kMaxReasonBytes); }

std::string CsvField(int64_t value) { return absl::StrCat(value); }
std::string CsvField(double value) { return ShortestDecimal(value); }

// Replaces invalid UTF-8 instead of throwing.
std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

Json ToJson(const StepStatistics& step) {
  Json updates = Json::array();
  for (const TensorStatistics& update : step.updates) {
    Json object = Json::object();
    VisitStatisticsFields([&](const char* name, auto member) {
      if (absl::string_view(name) != kStep) object[name] = update.*member;
    });
    updates.push_back(std::move(object));
  }
  return {{kStep, step.step}, {"updates", std::move(updates)}};
}

}  // namespace

// Quotes as RFC 4180 requires. Names may contain commas; job validation rejects quotes, but the
// server may be untrusted.
std::string CsvField(const std::string& name) {
  std::string text = Name(name);
  if (!absl::StrContains(text, ',') && !absl::StrContains(text, '"')) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string ShortestDecimal(double value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string FormatTable(const std::vector<StepStatistics>& steps, bool headings) {
  int width = kMinNameWidth;
  for (const StepStatistics& step : steps) {
    for (const TensorStatistics& update : step.updates) {
      width = std::max(width, static_cast<int>(Name(update.tensor).size()));
    }
  }
  std::string text;
  if (headings) {
    absl::StrAppendFormat(&text, "%7s  %-*s %12s %12s %12s %11s %11s\n", "step", width, "tensor",
                          "rel. delta", "plain SGD", "multiplier", "||g||1", "||W||1");
  }
  for (const StepStatistics& step : steps) {
    for (const TensorStatistics& update : step.updates) {
      absl::StrAppendFormat(&text, "%7d  %-*s %10.4g %% %10.4g %% %12.4g %11.4g %11.4g\n",
                            step.step, width, Name(update.tensor), 100 * update.relative_delta,
                            100 * update.sgd_relative_delta, update.multiplier, update.gradient_l1,
                            update.weight_l1);
    }
  }
  return text;
}

std::string FormatJson(const std::vector<StepStatistics>& steps) {
  Json array = Json::array();
  for (const StepStatistics& step : steps) array.push_back(ToJson(step));
  return Dump(array, 2);
}

std::string FormatJsonLine(const StepStatistics& step) { return Dump(ToJson(step), -1); }

std::string FormatCsv(const std::vector<StepStatistics>& steps, bool headings) {
  std::string text;
  const auto add = [&](const char* name, const std::string& value) {
    absl::StrAppend(&text, absl::string_view(name) == kStep ? "" : ",", value);
  };
  if (headings) {
    VisitStatisticsFields([&](const char* name, auto /*member*/) { add(name, name); });
    text += '\n';
  }
  for (const StepStatistics& step : steps) {
    for (const TensorStatistics& update : step.updates) {
      VisitStatisticsFields(
          [&](const char* name, auto member) { add(name, CsvField(update.*member)); });
      text += '\n';
    }
  }
  return text;
}

}  // namespace percentdelta
