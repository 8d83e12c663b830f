#include "common/cluster/statistics_proto.h"

namespace percentdelta {

TensorStatistics FromProto(const v1::TensorStatistics& proto) {
  TensorStatistics update;
  update.step = proto.step();
  update.tensor = proto.tensor();
  update.layer = proto.layer();
  update.entries = proto.entries();
  update.gradient_l1 = proto.gradient_l1();
  update.gradient_l2 = proto.gradient_l2();
  update.weight_l1 = proto.weight_l1();
  update.weight_l2 = proto.weight_l2();
  update.rate = proto.rate();
  update.multiplier = proto.multiplier();
  update.relative_delta = proto.relative_delta();
  update.sgd_relative_delta = proto.sgd_relative_delta();
  return update;
}

void ToProto(const TensorStatistics& update, v1::TensorStatistics& proto) {
  proto.set_step(update.step);
  proto.set_tensor(update.tensor);
  proto.set_layer(update.layer);
  proto.set_entries(update.entries);
  proto.set_gradient_l1(update.gradient_l1);
  proto.set_gradient_l2(update.gradient_l2);
  proto.set_weight_l1(update.weight_l1);
  proto.set_weight_l2(update.weight_l2);
  proto.set_rate(update.rate);
  proto.set_multiplier(update.multiplier);
  proto.set_relative_delta(update.relative_delta);
  proto.set_sgd_relative_delta(update.sgd_relative_delta);
}

StepStatistics FromProto(const v1::StepStatistics& proto) {
  StepStatistics step{proto.step(), {}};
  for (const v1::TensorStatistics& update : proto.updates()) {
    step.updates.push_back(FromProto(update));
  }
  return step;
}

void ToProto(const StepStatistics& step, v1::StepStatistics& proto) {
  proto.set_step(step.step);
  for (const TensorStatistics& update : step.updates) ToProto(update, *proto.add_updates());
}

}  // namespace percentdelta
