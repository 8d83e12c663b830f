// SPDX-License-Identifier: Apache-2.0

// The histogram of some values, for tests.

#ifndef PERCENTDELTA_TESTS_HISTOGRAM_OF_H_
#define PERCENTDELTA_TESTS_HISTOGRAM_OF_H_

#include <vector>

#include "common/cluster/histogram.h"

namespace percentdelta {

inline Histogram HistogramOf(const std::vector<float>& values) {
  HistogramCounter counter;
  counter.Add(values);
  Histogram histogram;
  counter.AddTo(histogram);
  return histogram;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_HISTOGRAM_OF_H_
