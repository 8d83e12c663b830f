// SPDX-License-Identifier: Apache-2.0

// A tensor's initializer as its message.

#ifndef PERCENTDELTA_COMMON_JOB_INITIALIZER_CODEC_H_
#define PERCENTDELTA_COMMON_JOB_INITIALIZER_CODEC_H_

#include "common/job/initializer_spec.h"
#include "percentdelta/v1/job.pb.h"

namespace percentdelta {

// `from_file`: whether the job has initial_weights, which a tensor without an initializer then
// comes from; otherwise it begins with zeros.
Initializer InitializerFromProto(const v1::Tensor& proto, bool from_file);

// Writes every field, defaults among them; nothing for FileInitializer.
void ToProto(const Initializer& initializer, v1::Tensor& proto);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_INITIALIZER_CODEC_H_
