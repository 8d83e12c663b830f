// Every update rule and every stage around it, alone and together, as jobs; and one tensor that is
// updated as a shard does it. A new rule or stage is one more line in update_cases.cc, and one more
// case of the reference.

#ifndef PERCENTDELTA_TESTS_SERVER_UPDATE_UPDATE_CASES_H_
#define PERCENTDELTA_TESTS_SERVER_UPDATE_UPDATE_CASES_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "common/job/job.h"
#include "server/update/norms.h"
#include "server/update/optimizer.h"

namespace percentdelta {

struct UpdateCase {
  std::string name;
  Job job;
};

// How the case shows when it fails.
void PrintTo(const UpdateCase& update_case, std::ostream* out);

// Those that a job may have: SmallJob with one gradient a step.
std::vector<UpdateCase> UpdateCases();

// One tensor in one piece, as a shard keeps it.
struct UpdatedTensor {
  // Of the job's initial weights.
  UpdatedTensor(const Job& job, const TensorSpec& spec);

  UpdatedTensor(const Job& job, std::vector<float> weights);

  // Updates the entries from `begin` on; returns the sum of |delta|.
  double Update(const Job& job, const Optimizer& optimizer, const std::vector<float>& gradient,
                int64_t begin, int64_t count);

  // Takes the norms of the gradient and the weights into `context`.
  void Reduce(const Job& job, const Optimizer& optimizer, int64_t step,
              const std::vector<float>& gradient);

  void Step(const Job& job, const Optimizer& optimizer, int64_t step,
            const std::vector<float>& gradient);

  int64_t size() const { return static_cast<int64_t>(weights.size()); }

  std::vector<float> weights;
  std::vector<std::vector<float>> state;
  std::vector<float> next;
  NormSums norms;
  TensorContext context;
  double delta_l1 = 0;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_UPDATE_UPDATE_CASES_H_
