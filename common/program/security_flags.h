// SPDX-License-Identifier: Apache-2.0

// The flags --tls_ca, --tls_cert and --tls_key, for the mains that include this.

#ifndef PERCENTDELTA_COMMON_PROGRAM_SECURITY_FLAGS_H_
#define PERCENTDELTA_COMMON_PROGRAM_SECURITY_FLAGS_H_

#include "common/base/certificate.h"

namespace percentdelta {

// As given; not checked.
TlsFiles TlsFilesFromFlags();

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_PROGRAM_SECURITY_FLAGS_H_
