// SPDX-License-Identifier: Apache-2.0

// Histograms as TensorBoard shows them.

#ifndef PERCENTDELTA_SERVER_TENSORBOARD_HISTOGRAM_EVENTS_H_
#define PERCENTDELTA_SERVER_TENSORBOARD_HISTOGRAM_EVENTS_H_

#include "absl/time/time.h"
#include "server/coordinator/histogram_ring.h"
#include "tensorboard/event.pb.h"

namespace percentdelta {

// The histograms "weights/NAME" and "gradients/NAME" of each tensor of a step.
tensorboard::Event HistogramEvent(const StepHistograms& step, absl::Time now);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_TENSORBOARD_HISTOGRAM_EVENTS_H_
