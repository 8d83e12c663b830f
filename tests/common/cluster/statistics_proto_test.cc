// SPDX-License-Identifier: Apache-2.0

#include "common/cluster/statistics_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAreArray;

// Every field of the message, and with it every member of the struct, is in the list.
TEST(StatisticsFieldsTest, AreThoseOfTheMessage) {
  std::vector<std::string> listed;
  VisitStatisticsFields([&](const char* name, auto /*member*/) { listed.emplace_back(name); });
  std::vector<std::string> fields;
  const google::protobuf::Descriptor& message = *v1::TensorStatistics::descriptor();
  fields.reserve(message.field_count());
  for (int i = 0; i < message.field_count(); ++i) fields.push_back(message.field(i)->name());
  EXPECT_THAT(listed, ElementsAreArray(fields));
}

TEST(StatisticsProtoTest, FieldsKeepTheirMeaning) {
  TensorStatistics update;
  update.step = 1;
  update.tensor = "conv1/weights";
  update.layer = "conv1";
  update.entries = 800;
  update.gradient_l1 = 2.5;
  update.gradient_l2 = 3.5;
  update.weight_l1 = 4.5;
  update.weight_l2 = 5.5;
  update.rate = 6.5;
  update.multiplier = 7.5;
  update.relative_delta = 8.5;
  update.sgd_relative_delta = 9.5;
  v1::TensorStatistics proto;
  ToProto(update, proto);
  EXPECT_EQ(proto.step(), 1);
  EXPECT_EQ(proto.tensor(), "conv1/weights");
  EXPECT_EQ(proto.layer(), "conv1");
  EXPECT_EQ(proto.entries(), 800);
  EXPECT_EQ(proto.gradient_l1(), 2.5);
  EXPECT_EQ(proto.gradient_l2(), 3.5);
  EXPECT_EQ(proto.weight_l1(), 4.5);
  EXPECT_EQ(proto.weight_l2(), 5.5);
  EXPECT_EQ(proto.rate(), 6.5);
  EXPECT_EQ(proto.multiplier(), 7.5);
  EXPECT_EQ(proto.relative_delta(), 8.5);
  EXPECT_EQ(proto.sgd_relative_delta(), 9.5);
  v1::TensorStatistics again;
  ToProto(FromProto(proto), again);
  EXPECT_EQ(again.SerializeAsString(), proto.SerializeAsString());
}

// Fields with their default value are not sent.
TEST(StatisticsProtoTest, DefaultsTakeNoBytes) {
  v1::TensorStatistics proto;
  ToProto(TensorStatistics(), proto);
  EXPECT_EQ(proto.SerializeAsString(), "");
}

}  // namespace
}  // namespace percentdelta
