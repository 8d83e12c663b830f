// SPDX-License-Identifier: Apache-2.0

// The timeline of a gradient's computation (common/base/trace.h).

#ifndef PERCENTDELTA_WORKER_LAYER_TRACE_H_
#define PERCENTDELTA_WORKER_LAYER_TRACE_H_

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/trace.h"
#include "common/job/job.h"

namespace percentdelta {

// Writes one span for each wait for weights, for each layer forward and for each gradient, from the
// events of TensorHooks (model.h). Tracer and model must outlive it. Not thread-safe.
class LayerTrace {
 public:
  LayerTrace(const Tracer& tracer, const ModelSpec& model, const TraceSubject& subject)
      : laps_(tracer), model_(model), subject_(subject) {}

  // The model asks for the tensor's weights.
  void WeightsAwaited(int tensor) {
    if (model_.tensors[tensor].layer() != layer_) EndForward();
  }

  // The weights are there.
  void WeightsReady(int tensor) {
    laps_.End("await weights", SubjectOf(tensor));
    layer_ = model_.tensors[tensor].layer();
  }

  // The tensor's gradient is final.
  void GradientReady(int tensor) {
    EndForward();
    laps_.End("backward", SubjectOf(tensor));
  }

 private:
  TraceSubject SubjectOf(int tensor) const {
    TraceSubject subject = subject_;
    subject.tensor = model_.tensors[tensor].name;
    return subject;
  }

  void EndForward() {
    if (!layer_.empty()) laps_.End(absl::StrCat("forward ", layer_), subject_);
    layer_ = {};
  }

  TraceLaps laps_;
  const ModelSpec& model_;
  const TraceSubject subject_;
  absl::string_view layer_;  // being computed forward; empty: none
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_LAYER_TRACE_H_
