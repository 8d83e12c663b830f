// SPDX-License-Identifier: Apache-2.0

// What one step's update did to one tensor: the quantities of the paper's Figure 1.

#ifndef PERCENTDELTA_COMMON_CLUSTER_STATISTICS_H_
#define PERCENTDELTA_COMMON_CLUSTER_STATISTICS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace percentdelta {

// Norms are of the whole tensor, however it is split; g is the step's aggregated gradient, W the
// weights before the update.
struct TensorStatistics {
  int64_t step = 0;
  std::string tensor;
  std::string layer;
  int64_t entries = 0;
  double gradient_l1 = 0;
  double gradient_l2 = 0;
  double weight_l1 = 0;
  double weight_l2 = 0;
  double rate = 0;                // eta * gamma(t)
  double multiplier = 0;          // delta = rate * multiplier * g; 0 for an all-zero gradient
  double relative_delta = 0;      // ||delta||_1 / ||W||_1, before momentum; 0 for a zero tensor
  double sgd_relative_delta = 0;  // rate * ||g||_1 / ||W||_1: what plain SGD would have done
};

// Calls visit(name, pointer to member) for every field of TensorStatistics. The names are those of
// the message, and the order is that of the columns of CSV and the keys of JSON: conversions and
// formats need no list of their own.
template <typename Visitor>
void VisitStatisticsFields(const Visitor& visit) {
  visit("step", &TensorStatistics::step);
  visit("tensor", &TensorStatistics::tensor);
  visit("layer", &TensorStatistics::layer);
  visit("entries", &TensorStatistics::entries);
  visit("gradient_l1", &TensorStatistics::gradient_l1);
  visit("gradient_l2", &TensorStatistics::gradient_l2);
  visit("weight_l1", &TensorStatistics::weight_l1);
  visit("weight_l2", &TensorStatistics::weight_l2);
  visit("rate", &TensorStatistics::rate);
  visit("multiplier", &TensorStatistics::multiplier);
  visit("relative_delta", &TensorStatistics::relative_delta);
  visit("sgd_relative_delta", &TensorStatistics::sgd_relative_delta);
}

// The statistics of all tensors in one step, in the job's order.
struct StepStatistics {
  int64_t step = 0;
  std::vector<TensorStatistics> updates;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_STATISTICS_H_
