// MakeModel: the architectures that there are, by the name that a job calls them.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/job.h"
#include "worker/kernels/kernels.h"
#include "worker/kernels/select.h"
#include "worker/models/mnist_cnn.h"
#include "worker/models/model.h"

namespace percentdelta {
namespace {

struct Architecture {
  const char* name;
  std::vector<NamedShape> (*tensors)();
  std::unique_ptr<Model> (*make)(const Kernels& kernels, ThreadPool& pool);
};

const Architecture kArchitectures[] = {
    {"mnist_cnn", [] { return CnnTensors(CnnGeometry()); },
     [](const Kernels& kernels, ThreadPool& pool) -> std::unique_ptr<Model> {
       return std::make_unique<MnistCnn>(CnnGeometry(), kernels, pool);
     }},
};

std::string ShapeName(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status CheckTensors(const ModelSpec& spec, const std::vector<NamedShape>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const std::string wanted =
        absl::StrCat("architecture \"", spec.architecture, "\", tensor ", i, ": expected \"",
                     expected[i].name, "\" of shape ", ShapeName(expected[i].shape), ", got ");
    if (i >= spec.tensors.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(wanted, "the end of the job's ", spec.tensors.size(), " tensors"));
    }
    const TensorSpec& got = spec.tensors[i];
    if (got.name != expected[i].name || got.shape != expected[i].shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(wanted, "\"", got.name, "\" of shape ", ShapeName(got.shape)));
    }
  }
  if (spec.tensors.size() > expected.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("architecture \"", spec.architecture, "\": expected ", expected.size(),
                     " tensors, got ", spec.tensors.size(), ", the first too many being \"",
                     spec.tensors[expected.size()].name, "\""));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeModel(const ModelSpec& spec,
                                                 const ModelOptions& options) {
  for (const Architecture& architecture : kArchitectures) {
    if (spec.architecture != architecture.name) continue;
    if (absl::Status status = CheckTensors(spec, architecture.tensors()); !status.ok()) {
      return status;
    }
    const absl::StatusOr<const Kernels*> kernels = SelectKernels(options.isa);
    if (!kernels.ok()) return kernels.status();
    return architecture.make(**kernels, *options.pool);
  }
  const auto append_name = [](std::string* out, const Architecture& architecture) {
    absl::StrAppend(out, "\"", architecture.name, "\"");
  };
  return absl::NotFoundError(absl::StrCat("no architecture \"", spec.architecture, "\"; there is ",
                                          absl::StrJoin(kArchitectures, ", ", append_name)));
}

}  // namespace percentdelta
