"""Free ports on this machine."""

import random
import socket

HOST = "127.0.0.1"
# Below what the kernel gives to those who ask for any port, so that a server that is killed finds its
# own port free when it comes back.
FIRST, LAST = 20000, 32000


def free_ports(count: int) -> list[int]:
    """So many different ports on which nobody listens."""
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
