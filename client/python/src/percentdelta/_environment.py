# SPDX-License-Identifier: Apache-2.0
"""gRPC settings that exist as environment variables only. Imported before grpc.

What the user has set stays."""

import os

# As getaddrinfo resolves names, as every other program does.
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")

# Forked processes (a DataLoader's workers, subprocess before Python 3.10) do not use gRPC. With the
# support for those that do, gRPC's threads would run between fork and exec, while file descriptors
# are closed, and abort the child.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
