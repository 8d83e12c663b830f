// SPDX-License-Identifier: Apache-2.0

// The norms of a gradient, its weights and their change, for update rules and statistics.

#ifndef PERCENTDELTA_SERVER_UPDATE_NORMS_H_
#define PERCENTDELTA_SERVER_UPDATE_NORMS_H_

#include "absl/types/span.h"

namespace percentdelta {

// Sums over entries, in double.
struct NormSums {
  double ratio_l1 = 0;             // sum |g / (w + epsilon * sgn(w))|, with sgn(0) = +1
  double gradient_l1 = 0;          // sum |g|
  double weight_l1 = 0;            // sum |w|
  double gradient_l2_squared = 0;  // sum g^2
  double weight_l2_squared = 0;    // sum w^2

  NormSums& operator+=(const NormSums& other);
};

// Sums over the entries of a proposed delta, in double.
struct DeltaNorms {
  double l1 = 0;          // sum |delta|
  double l2_squared = 0;  // sum delta^2

  DeltaNorms& operator+=(const DeltaNorms& other);
};

// Phase 1 of an update, over one block (16384 entries or the tensor's rest). The result is a
// function of the values alone, to the bit: entry i is added to lane i mod 8, lanes are added in a
// fixed tree, nothing is fused. `epsilon` > 0; the spans are of one size.
//
// ratio_l1 is the inner sum of the paper's Equation 7 with the epsilon of its footnote 2. Pushing w
// away from zero by epsilon leaves |w| + epsilon, whatever the sign.
NormSums BlockNorms(absl::Span<const float> gradient, absl::Span<const float> weights,
                    double epsilon);

// The sum of |value| over a range that comes in pieces, of which all but the last have a multiple
// of 8 entries. The result does not depend on the pieces: entry i of the range is added to lane i
// mod 8, and lanes are added in the fixed tree of BlockNorms.
class MagnitudeSum {
 public:
  void Add(absl::Span<const double> piece);
  double Total() const;

 private:
  double lanes_[8] = {};
};

// The DeltaNorms of a range that comes in such pieces, in the same order.
class DeltaNormSum {
 public:
  void Add(absl::Span<const double> piece);
  DeltaNorms Total() const;

 private:
  double l1_[8] = {};
  double l2_squared_[8] = {};
};

// Adds block sums in block order: the norms of a tensor from those of its blocks.
NormSums AddBlocks(absl::Span<const NormSums> blocks);

}  // namespace percentdelta

#endif  // PERCENTDELTA_SERVER_UPDATE_NORMS_H_
