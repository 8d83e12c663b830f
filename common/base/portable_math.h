// exp and log written down: the C library's differ between versions and processors in their last
// bit, these do not. Initial weights and the small models are made with them.

#ifndef PERCENTDELTA_COMMON_BASE_PORTABLE_MATH_H_
#define PERCENTDELTA_COMMON_BASE_PORTABLE_MATH_H_

namespace percentdelta {

// exp(x) for x <= 0 and log(x) for finite x > 0, to a relative error below 1e-15 (absolute, near
// log's zero), the same bits everywhere. NaN gives NaN.
double PortableExp(double x);
double PortableLog(double x);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_PORTABLE_MATH_H_
