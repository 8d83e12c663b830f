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

// All tensors' updates of one step, in the job's order.
struct StepStatistics {
  int64_t step = 0;
  std::vector<TensorStatistics> updates;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_CLUSTER_STATISTICS_H_
