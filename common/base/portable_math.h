// SPDX-License-Identifier: Apache-2.0

// exp and log with the same bits everywhere: the C library's differ between versions and processors
// in the last bit. Used for initial weights and the small models.

#ifndef PERCENTDELTA_COMMON_BASE_PORTABLE_MATH_H_
#define PERCENTDELTA_COMMON_BASE_PORTABLE_MATH_H_

namespace percentdelta {

// exp(x) for x <= 0 and log(x) for finite x > 0, with a relative error below 1e-15 (absolute near
// log's zero). NaN gives NaN.
double PortableExp(double x);
double PortableLog(double x);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_PORTABLE_MATH_H_
