// SPDX-License-Identifier: Apache-2.0

// An entry of the model registry: what MakeModel (model.h) needs to know of an architecture.

#ifndef PERCENTDELTA_WORKER_MODELS_ARCHITECTURE_H_
#define PERCENTDELTA_WORKER_MODELS_ARCHITECTURE_H_

#include <memory>
#include <vector>

#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/kernels/kernels.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {

// Defined with the model; model_registry.cc lists all of them.
struct Architecture {
  const char* name;  // in jobs

  // How to get its data set, as in "deploy/make-data ratings puts ratings into data/ratings".
  const char* data_advice;

  // Returns the tensors that the job must have. Sizes that the architecture leaves to the job are
  // taken from `spec`.
  std::vector<NamedShape> (*tensors)(const ModelSpec& spec);

  bool has_dropout;  // jobs may set dropout_keep_probability

  // Makes the model; `spec` has been checked. Kernels and pool outlive the model.
  std::unique_ptr<Model> (*make)(const ModelSpec& spec, const Kernels& kernels, ThreadPool& pool);
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_ARCHITECTURE_H_
