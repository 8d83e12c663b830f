# SPDX-License-Identifier: Apache-2.0
"""Free ports on this machine."""

import random
import socket

HOST = "127.0.0.1"
# Below the kernel's ephemeral ports, so that a killed server finds its own port free when it comes back.
FIRST, LAST = 20000, 32000


def free_ports(count: int) -> list[int]:
    """Returns different ports on which no process listens."""
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().randrange(FIRST, LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.add(port)
    return list(found)
