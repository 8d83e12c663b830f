// SPDX-License-Identifier: Apache-2.0

// A job's update rule as its message, by the rule's own description (rule_spec.h).

#ifndef PERCENTDELTA_COMMON_JOB_RULE_CODEC_H_
#define PERCENTDELTA_COMMON_JOB_RULE_CODEC_H_

#include "absl/status/statusor.h"
#include "common/job/rule_spec.h"
#include "percentdelta/v1/job.pb.h"

namespace percentdelta {

// A field that is absent has the value of the rule's initializer. kInvalidArgument: no rule is set.
absl::StatusOr<UpdateRule> RuleFromProto(const v1::Optimizer& proto);

// Writes every field, defaults among them.
void ToProto(const UpdateRule& rule, v1::Optimizer& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_RULE_CODEC_H_
