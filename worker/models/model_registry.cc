// SPDX-License-Identifier: Apache-2.0

// The registry of architectures: MakeModel and DataAdvice (model.h).

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/job/job.h"
#include "worker/kernels/kernels.h"
#include "worker/kernels/select.h"
#include "worker/models/architecture.h"
#include "worker/models/attention_words.h"
#include "worker/models/matrix_factorization.h"
#include "worker/models/mnist_cnn.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {
namespace {

const Architecture* const kArchitectures[] = {
    &kMnistCnnArchitecture,
    &kMatrixFactorizationArchitecture,
    &kAttentionWordsArchitecture,
};

const Architecture* FindArchitecture(absl::string_view name) {
  for (const Architecture* architecture : kArchitectures) {
    if (architecture->name == name) return architecture;
  }
  return nullptr;
}

absl::Status CheckDropout(const ModelSpec& spec, const Architecture& architecture) {
  const double keep = spec.dropout_keep_probability;
  if (architecture.has_dropout || keep == 0 || keep == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("architecture \"", spec.architecture,
                   "\" has no dropout: expected a dropout_keep_probability of 0, got ", keep));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeModel(const ModelSpec& spec,
                                                 const ModelOptions& options) {
  const Architecture* const architecture = FindArchitecture(spec.architecture);
  if (architecture == nullptr) {
    const auto append_name = [](std::string* out, const Architecture* known) {
      absl::StrAppend(out, "\"", known->name, "\"");
    };
    return absl::NotFoundError(absl::StrCat("unknown architecture \"", spec.architecture,
                                            "\": expected one of ",
                                            absl::StrJoin(kArchitectures, ", ", append_name)));
  }
  RETURN_IF_ERROR(CheckTensors(spec, architecture->tensors(spec)));
  RETURN_IF_ERROR(CheckDropout(spec, *architecture));
  ASSIGN_OR_RETURN(const Kernels* const kernels, SelectKernels(options.isa));
  return architecture->make(spec, *kernels, *options.pool);
}

std::string DataAdvice(absl::string_view name) {
  if (const Architecture* architecture = FindArchitecture(name)) {
    return absl::StrCat(architecture->data_advice,
                        "; give the folder of this job's data with --data");
  }
  const auto append_advice = [](std::string* out, const Architecture* known) {
    absl::StrAppend(out, known->data_advice);
  };
  return absl::StrCat(absl::StrJoin(kArchitectures, ", ", append_advice),
                      "; give the folder of the job's data with --data");
}

}  // namespace percentdelta
