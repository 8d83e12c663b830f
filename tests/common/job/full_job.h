// SPDX-License-Identifier: Apache-2.0

// A job for the tests of parsing and validating jobs.

#ifndef PERCENTDELTA_TESTS_COMMON_JOB_FULL_JOB_H_
#define PERCENTDELTA_TESTS_COMMON_JOB_FULL_JOB_H_

#include <cstdint>

#include "common/job/job.h"

namespace percentdelta {

// A job in which every required field has a value other than its default.
inline Job FullJob() {
  Job job;
  job.name = "full";
  job.model.architecture = "arch";
  job.model.tensors = {{"a/w", {3, 4}, TruncatedNormalInitializer{0.1}},
                       {"a/b", {}, ConstantInitializer{0.25}}};
  job.optimizer = {0.03, PercentDeltaRule{1e-6}};
  job.schedule = {LinearDecay{0.001, 0.01}};
  job.momentum = {0.9, 0.8};
  job.gradients_per_step = 2;
  job.max_steps = 100;
  job.batch_size = 5;
  job.seed = ~uint64_t{0};
  job.evaluation = EvaluationSpec{10, 20};
  job.data = {60, 40};
  return job;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_COMMON_JOB_FULL_JOB_H_
