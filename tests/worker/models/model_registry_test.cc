// SPDX-License-Identifier: Apache-2.0

// The registry of architectures, by the names that jobs use.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "tests/status_matchers.h"
#include "worker/models/model.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(MakeModelTest, NamesTheKnownArchitectures) {
  ThreadPool pool(1);
  ModelSpec spec;
  spec.architecture = "resnet";
  EXPECT_THAT(MakeModel(spec, {.pool = &pool, .isa = ""}),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("\"resnet\""), HasSubstr("\"mnist_cnn\""),
                             HasSubstr("\"attention_words\""))));
}

TEST(DataAdviceTest, IsThatOfTheArchitectureOrOfAll) {
  const struct {
    const char* architecture;
    const char* command;
    const char* other;
  } cases[] = {{"mnist_cnn", "deploy/fetch-data", "make-data"},
               {"matrix_factorization", "deploy/make-data ratings", "fetch-data"},
               {"attention_words", "deploy/make-data documents", "fetch-data"}};
  for (const auto& [architecture, command, other] : cases) {
    EXPECT_THAT(DataAdvice(architecture),
                AllOf(HasSubstr(command), HasSubstr("--data"), Not(HasSubstr(other))));
    EXPECT_THAT(DataAdvice(""), HasSubstr(command));
    EXPECT_THAT(DataAdvice("resnet"), HasSubstr(command));
  }
}

}  // namespace
}  // namespace percentdelta
