// SPDX-License-Identifier: Apache-2.0

#include "tests/worker/models/model_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/thread_pool.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const Misfit kMisfitsOfAllModels[] = {
    {"no examples",
     [](Dataset& set) {
       set.count = 0;
       set.pixels.clear();
       set.labels.clear();
     },
     "without images"},
    {"a label too large", [](Dataset& set) { set.labels[1] = 10; }, "label 10 of image 1"},
    {"a pixel missing", [](Dataset& set) { set.pixels.pop_back(); }, "pixels (expected"},
    {"a label missing", [](Dataset& set) { set.labels.pop_back(); }, "and 1 labels"},
    {"another form",
     [](Dataset& set) {
       if (set.rows == 1) {
         set.rows = 2;
         set.columns /= 2;
       } else {
         set.columns *= set.rows;
         set.rows = 1;
       }
     },
     "images of"},
};

}  // namespace

Computed Compute(Model& model, const TensorValues& weights, const Batch& batch) {
  Computed computed;
  const absl::StatusOr<BatchResult> result = model.Gradient(weights, batch, {}, computed.gradient);
  EXPECT_OK(result);
  if (result.ok()) computed.result = *result;
  return computed;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void ExpectSameBits(const TensorValues& a, const TensorValues& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t t = 0; t < a.size(); ++t) EXPECT_TRUE(SameBits(a[t], b[t])) << "tensor " << t;
}

void ExpectDifferences(const Computed& computed, const TensorValues& weights,
                       absl::Span<const NamedShape> tensors,
                       const std::function<double(const std::vector<Doubles>&)>& naive_loss,
                       const DifferenceTolerance& tolerance) {
  std::vector<Doubles> naive_weights;
  naive_weights.reserve(weights.size());
  for (const std::vector<float>& values : weights) naive_weights.push_back(ToDoubles(values));
  EXPECT_NEAR(computed.result.loss_sum / static_cast<double>(computed.result.examples),
              naive_loss(naive_weights), tolerance.loss);
  ASSERT_EQ(computed.gradient.size(), weights.size());
  for (size_t t = 0; t < weights.size(); ++t) {
    ASSERT_EQ(computed.gradient[t].size(), weights[t].size());
    const auto loss = [&](const Doubles& values) {
      std::vector<Doubles> changed = naive_weights;
      changed[t] = values;
      return naive_loss(changed);
    };
    const auto entries = static_cast<int64_t>(weights[t].size());
    for (int64_t i = 0; i < entries; i += 1 + entries / tolerance.points) {
      EXPECT_NEAR(computed.gradient[t][i], Difference(loss, naive_weights[t], i),
                  tolerance.gradient)
          << tensors[t].name << " at " << i;
    }
  }
}

void ExpectEvaluatesAsTheGradient(Model& model, const TensorValues& weights, const Batch& batch) {
  const Computed computed = Compute(model, weights, batch);
  ASSERT_OK_AND_ASSIGN(const BatchResult result, model.Evaluate(weights, batch, {}));
  EXPECT_EQ(result.loss_sum, computed.result.loss_sum);
  EXPECT_EQ(result.correct, computed.result.correct);
  EXPECT_EQ(result.examples, batch.count);
  EXPECT_EQ(computed.result.examples, batch.count);
}

void ExpectHooksInOrder(Model& model, const TensorValues& weights, const Batch& batch) {
  const Computed expected = Compute(model, weights, batch);
  const int tensors = static_cast<int>(weights.size());
  TensorValues arriving(weights.size());
  TensorValues gradient;
  std::vector<std::string> calls;
  const std::thread::id thread = std::this_thread::get_id();
  const TensorHooks hooks = {
      .await_weights =
          [&](int tensor) {
            EXPECT_EQ(std::this_thread::get_id(), thread);
            calls.push_back(absl::StrCat("await ", tensor));
            arriving[tensor] = weights[tensor];  // only now: it was not read before
            return absl::OkStatus();
          },
      .gradient_ready =
          [&](int tensor) {
            EXPECT_EQ(std::this_thread::get_id(), thread);
            calls.push_back(absl::StrCat("ready ", tensor));
            EXPECT_TRUE(SameBits(gradient[tensor], expected.gradient[tensor])) << tensor;
          },
  };
  ASSERT_OK_AND_ASSIGN(const BatchResult result, model.Gradient(arriving, batch, hooks, gradient));
  EXPECT_EQ(result.loss_sum, expected.result.loss_sum);
  ExpectSameBits(gradient, expected.gradient);
  std::vector<std::string> in_order;
  in_order.reserve(2 * weights.size());
  for (int t = 0; t < tensors; ++t) in_order.push_back(absl::StrCat("await ", t));
  for (int t = tensors - 1; t >= 0; --t) in_order.push_back(absl::StrCat("ready ", t));
  EXPECT_EQ(calls, in_order);

  for (int failing = 0; failing < tensors; ++failing) {
    int last = -1;
    const TensorHooks lost = {.await_weights = [&](int tensor) -> absl::Status {
                                last = tensor;
                                if (tensor == failing) return absl::AbortedError("lease lost");
                                return absl::OkStatus();
                              },
                              .gradient_ready = [](int tensor) { FAIL() << tensor; }};
    EXPECT_EQ(model.Gradient(weights, batch, lost, gradient).status(),
              absl::AbortedError("lease lost"));
    EXPECT_EQ(last, failing);
    EXPECT_EQ(model.Evaluate(weights, batch, lost).status(), absl::AbortedError("lease lost"));
    EXPECT_EQ(last, failing);
  }
}

void ExpectLossIsNotFinite(Model& model, const TensorValues& weights, const Batch& batch,
                           float broken) {
  for (size_t t = 0; t < weights.size(); ++t) {
    TensorValues changed = weights;
    for (float& value : changed[t]) value = broken;
    EXPECT_FALSE(std::isfinite(Compute(model, changed, batch).result.loss_sum)) << "tensor " << t;
  }
}

std::string Refusal(Model& model, const TensorValues& weights, const Batch& batch) {
  TensorValues gradient;
  const absl::Status status = model.Gradient(weights, batch, {}, gradient).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(model.Evaluate(weights, batch, {}).status(), status);
  return std::string(status.message());
}

void ExpectChecksDatasets(const ModelSpec& spec, const Dataset& good,
                          const std::vector<Misfit>& misfits) {
  ThreadPool pool(1);
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Model> model, MakeModel(spec, {&pool, ""}));
  EXPECT_OK(model->CheckDataset(good));
  TensorValues weights;
  for (const TensorSpec& tensor : spec.tensors) weights.emplace_back(tensor.size(), 0.1F);
  Batch batch;
  TensorValues gradient;
  GatherBatch(good, std::vector<int64_t>{0, 1}, batch);
  EXPECT_OK(model->Gradient(weights, batch, {}, gradient));

  std::vector<Misfit> all = misfits;
  all.insert(all.end(), std::begin(kMisfitsOfAllModels), std::end(kMisfitsOfAllModels));
  for (const Misfit& misfit : all) {
    Dataset bad = good;
    misfit.make(bad);
    EXPECT_THAT(model->CheckDataset(bad),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(misfit.message)))
        << misfit.name;
  }
}

std::string RefusalOfJob(const ModelSpec& spec) {
  ThreadPool pool(1);
  const absl::Status status = MakeModel(spec, {.pool = &pool, .isa = ""}).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  return std::string(status.message());
}

void ExpectRefusesBuffers(const ModelSpec& spec) {
  for (size_t t = 0; t < spec.tensors.size(); ++t) {
    ModelSpec untrained = spec;
    untrained.tensors[t].buffer = true;
    EXPECT_THAT(RefusalOfJob(untrained),
                AllOf(HasSubstr(absl::StrCat("tensor ", t, ": expected \"", spec.tensors[t].name)),
                      HasSubstr("got a buffer, which is not trained; remove `buffer: true`")));
  }
}

void ExpectMakes(const ModelSpec& spec, Model& expected, const TensorValues& weights,
                 const Batch& batch) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(spec, {.pool = &pool, .isa = ""}));
    EXPECT_EQ(model->arithmetic(), expected.arithmetic());
    ExpectSameBits(Compute(*model, weights, batch).gradient,
                   Compute(expected, weights, batch).gradient);
  }
}

}  // namespace percentdelta
