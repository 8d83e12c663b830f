// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/job/job_codec.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"

namespace percentdelta {
namespace {

// Lists the fields in which two messages differ, and their values.
class DifferenceList : public google::protobuf::util::MessageDifferencer::Reporter {
 public:
  using Message = google::protobuf::Message;
  using Field = google::protobuf::util::MessageDifferencer::SpecificField;
  using Path = std::vector<Field>;

  void ReportAdded(const Message& a, const Message& b, const Path& path) override {
    Add(a, b, path);
  }
  void ReportDeleted(const Message& a, const Message& b, const Path& path) override {
    Add(a, b, path);
  }
  void ReportModified(const Message& a, const Message& b, const Path& path) override {
    // The fields of a message are reported separately.
    if (path.back().field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) return;
    Add(a, b, path);
  }
  const std::string& text() const { return text_; }

 private:
  void Add(const Message& a, const Message& b, const Path& path) {
    std::string name;
    for (const Field& part : path) {
      absl::StrAppend(&name, name.empty() ? "" : ".", part.field->name());
      if (part.field->is_repeated()) absl::StrAppend(&name, "[", std::max(part.index, 0), "]");
    }
    const Field& field = path.back();
    absl::StrAppend(&text_, text_.empty() ? "" : ", ", name, ": ", Value(a, field, field.index),
                    " and ", Value(b, field, field.new_index));
  }

  // `message` contains the field directly.
  static std::string Value(const Message& message, const Field& part, int index) {
    const auto* reflection = message.GetReflection();
    const bool repeated = part.field->is_repeated();
    if (repeated ? index < 0 || index >= reflection->FieldSize(message, part.field)
                 : part.field->has_presence() && !reflection->HasField(message, part.field)) {
      return "nothing";
    }
    if (part.field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      return "something";
    }
    std::string value;
    google::protobuf::TextFormat::PrintFieldValueToString(message, part.field,
                                                          repeated ? index : -1, &value);
    return value;
  }

  std::string text_;
};

}  // namespace

std::string DecisiveDifferences(const Job& ours, const Job& its) {
  const auto decisive = [&ours](const Job& job) {
    v1::Job proto = JobToProto(job);
    proto.clear_name();
    proto.clear_max_steps();
    proto.clear_evaluation();
    proto.clear_checkpoint();
    proto.mutable_data()->clear_test_examples();
    if (proto.has_initial_weights()) proto.mutable_initial_weights()->clear_file();
    if (ours.any_arithmetic) proto.set_any_arithmetic(true);
    return proto;
  };
  DifferenceList differences;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesTo(&differences);
  differencer.Compare(decisive(ours), decisive(its));
  return differences.text();
}

}  // namespace percentdelta
