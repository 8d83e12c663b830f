// MakeModel: the architectures that there are, by the name that a job calls them.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/kernels/kernels.h"
#include "worker/kernels/select.h"
#include "worker/models/attention_words.h"
#include "worker/models/matrix_factorization.h"
#include "worker/models/mnist_cnn.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {
namespace {

struct Architecture {
  const char* name;

  // What the job's tensors have to be. Sizes that the architecture leaves to the job are the job's.
  std::vector<NamedShape> (*tensors)(const ModelSpec& spec);

  bool drops_units;  // if the job says so

  // `spec` has been checked.
  std::unique_ptr<Model> (*make)(const ModelSpec& spec, const Kernels& kernels, ThreadPool& pool);
};

const Architecture kArchitectures[] = {
    {"mnist_cnn", [](const ModelSpec&) { return CnnTensors(CnnGeometry()); }, true,
     [](const ModelSpec& spec, const Kernels& kernels, ThreadPool& pool) -> std::unique_ptr<Model> {
       return std::make_unique<MnistCnn>(CnnGeometry(), kernels, pool,
                                         spec.dropout_keep_probability);
     }},
    {"matrix_factorization",
     [](const ModelSpec& spec) { return FactorizationTensors(FactorizationSizesOf(spec)); }, false,
     [](const ModelSpec& spec, const Kernels&, ThreadPool& pool) -> std::unique_ptr<Model> {
       return std::make_unique<MatrixFactorization>(FactorizationSizesOf(spec), &pool);
     }},
    {"attention_words",
     [](const ModelSpec& spec) { return AttentionTensors(AttentionSizesOf(spec)); }, false,
     [](const ModelSpec& spec, const Kernels&, ThreadPool& pool) -> std::unique_ptr<Model> {
       return std::make_unique<AttentionWords>(AttentionSizesOf(spec), &pool);
     }},
};

absl::Status CheckDropout(const ModelSpec& spec, const Architecture& architecture) {
  const double keep = spec.dropout_keep_probability;
  if (architecture.drops_units || keep == 0 || keep == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("architecture \"", spec.architecture,
                   "\" has no dropout: expected a dropout_keep_probability of 0, got ", keep));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeModel(const ModelSpec& spec,
                                                 const ModelOptions& options) {
  for (const Architecture& architecture : kArchitectures) {
    if (spec.architecture != architecture.name) continue;
    absl::Status status = CheckTensors(spec, architecture.tensors(spec));
    if (status.ok()) status = CheckDropout(spec, architecture);
    if (!status.ok()) return status;
    const absl::StatusOr<const Kernels*> kernels = SelectKernels(options.isa);
    if (!kernels.ok()) return kernels.status();
    return architecture.make(spec, **kernels, *options.pool);
  }
  const auto append_name = [](std::string* out, const Architecture& architecture) {
    absl::StrAppend(out, "\"", architecture.name, "\"");
  };
  return absl::NotFoundError(absl::StrCat("no architecture \"", spec.architecture, "\"; there are ",
                                          absl::StrJoin(kArchitectures, ", ", append_name)));
}

}  // namespace percentdelta
