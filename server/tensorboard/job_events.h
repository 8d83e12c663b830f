// SPDX-License-Identifier: Apache-2.0

// A job as TensorBoard shows it.

#ifndef PERCENTDELTA_SERVER_TENSORBOARD_JOB_EVENTS_H_
#define PERCENTDELTA_SERVER_TENSORBOARD_JOB_EVENTS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/job/job.h"
#include "tensorboard/event.pb.h"

namespace percentdelta {

// Tag of the job's text, in the tab "Text".
inline constexpr absl::string_view kJobTag = "job/text_summary";

// The job's text, and its fields as hyper-parameters: every number, text and truth value that it
// sets outside of its model's tensors, as in "optimizer.learning_rate".
tensorboard::Event JobEvent(const Job& job, absl::Time now);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_TENSORBOARD_JOB_EVENTS_H_
