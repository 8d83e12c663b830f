// SPDX-License-Identifier: Apache-2.0

// Every update rule and every stage around it, alone and together, as jobs; and one tensor that is
// updated as a shard does it. A new rule or stage is one more line in update_cases.cc, and one more
// formula of the reference.

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

// How gtest prints the case.
void PrintTo(const UpdateCase& update_case, std::ostream* out);

// All that a job may have: SmallJob with one gradient a step.
std::vector<UpdateCase> UpdateCases();

// One unsplit tensor, as a shard keeps it.
struct UpdatedTensor {
  // With the job's initial weights.
  UpdatedTensor(const Job& job, const TensorSpec& spec);

  UpdatedTensor(const Job& job, std::vector<float> weights);

  // Updates the entries from `begin` on; returns the sum of |delta|.
  double Update(const Job& job, const Optimizer& optimizer, const std::vector<float>& gradient,
                int64_t begin, int64_t count);

  // Phase 1 and the proposal: takes the norms into `context`.
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
