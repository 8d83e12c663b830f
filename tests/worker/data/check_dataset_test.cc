// Model::CheckDataset of every architecture: what it takes, and what Gradient would not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/models/attention_words.h"
#include "worker/models/matrix_factorization.h"
#include "worker/models/mnist_cnn.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

struct Misfit {
  const char* name;
  std::function<void(Dataset&)> make;
  const char* message;
};

struct Architecture {
  const char* name;
  std::vector<NamedShape> tensors;
  Dataset good;  // of two examples
  std::vector<Misfit> misfits;
};

const Misfit kNoExamples = {"no examples",
                            [](Dataset& set) {
                              set.count = 0;
                              set.pixels.clear();
                              set.labels.clear();
                            },
                            "without images"};
const Misfit kLabelTooLarge = {"a label too large", [](Dataset& set) { set.labels[1] = 10; },
                               "label 10 of image 1"};
const Misfit kPixelsMissing = {"pixels missing", [](Dataset& set) { set.pixels.pop_back(); },
                               "pixels (expected"};
const Misfit kLabelMissing = {"a label missing", [](Dataset& set) { set.labels.pop_back(); },
                              "and 1 labels"};
const Misfit kTransposed = {"transposed",
                            [](Dataset& set) {
                              set.columns = set.rows * set.columns;
                              set.rows = 1;
                              if (set.columns == 4 || set.columns == 6) set.rows = 2;
                              if (set.rows == 2) set.columns /= 2;
                            },
                            "images of"};

std::vector<Architecture> Architectures() {
  return {
      {"mnist_cnn",
       CnnTensors(CnnGeometry()),
       {.count = 2,
        .rows = 28,
        .columns = 28,
        .pixels = std::vector<uint8_t>(2 * 28 * 28, 255),
        .labels = {0, 9}},
       {{"sides of 14",
         [](Dataset& set) {
           set.rows = set.columns = 14;
           set.pixels.resize(2 * 14 * 14);
         },
         "images of 14 x 14 pixels; the model takes 28 x 28"}}},
      {"matrix_factorization",
       FactorizationTensors({.users = 300, .items = 9, .rank = 2}),
       {.count = 2, .rows = 1, .columns = 4, .pixels = {1, 43, 0, 8, 0, 0, 0, 0}, .labels = {0, 9}},
       {{"a user too many", [](Dataset& set) { set.pixels[1] = 44; }, "user 300 of rating 0"},
        {"an item too many", [](Dataset& set) { set.pixels[7] = 9; }, "item 9 of rating 1"}}},
      {"attention_words",
       AttentionTensors({.vocabulary = 300, .dimension = 2}),
       {.count = 2,
        .rows = 1,
        .columns = 6,
        .pixels = {1, 43, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1},
        .labels = {0, 9}},
       {{"a word too many", [](Dataset& set) { set.pixels[1] = 44; },
         "word 300 at 0 of document 0"},
        {"no words", [](Dataset& set) { set.pixels[11] = 0; }, "document 1 has no words"}}}};
}

TEST(CheckDatasetTest, TakesWhatGradientTakesAndNothingElse) {
  ThreadPool pool(1);
  for (const Architecture& architecture : Architectures()) {
    ModelSpec spec;
    spec.architecture = architecture.name;
    TensorValues weights;
    for (const NamedShape& tensor : architecture.tensors) {
      spec.tensors.push_back({tensor.name, tensor.shape, ConstantInitializer{0.1}});
      weights.emplace_back(tensor.size(), 0.1F);
    }
    const absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(spec, {&pool, ""});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_TRUE((*model)->CheckDataset(architecture.good).ok())
        << architecture.name << ": " << (*model)->CheckDataset(architecture.good);
    Batch batch;
    TensorValues gradient;
    GatherBatch(architecture.good, std::vector<int64_t>{0, 1}, batch);
    EXPECT_TRUE((*model)->Gradient(weights, batch, {}, gradient).ok()) << architecture.name;

    std::vector<Misfit> misfits = architecture.misfits;
    misfits.insert(misfits.end(),
                   {kNoExamples, kLabelTooLarge, kPixelsMissing, kLabelMissing, kTransposed});
    for (const Misfit& misfit : misfits) {
      Dataset bad = architecture.good;
      misfit.make(bad);
      const absl::Status status = (*model)->CheckDataset(bad);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
          << architecture.name << ", " << misfit.name;
      EXPECT_THAT(std::string(status.message()), HasSubstr(misfit.message))
          << architecture.name << ", " << misfit.name;
    }
  }
}

}  // namespace
}  // namespace percentdelta
