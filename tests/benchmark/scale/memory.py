# SPDX-License-Identifier: Apache-2.0
"""The most memory that processes had."""

import os
import pathlib
import re
import threading
import time
from collections.abc import Mapping

PERIOD_SECONDS = 0.005
BLOCK_BYTES = 512  # of stat's st_blocks
MEMORY_FILE = "memfd:percentdelta"  # the package's and the C++ client's


def private_bytes(pid: int) -> int:
    """Returns the process's own memory (RssAnon): neither programs and libraries nor shared memory."""
    found = re.search(r"(?m)^RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    return 1024 * int(found.group(1)) if found else 0


def offered_bytes(pid: int) -> int:
    """Returns the shared memory that the process has made, as far as any process has touched it."""
    found = {}  # by inode: a mapping may have a descriptor of its own
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if MEMORY_FILE in os.readlink(path):
            file = path.stat()
            found[file.st_ino] = BLOCK_BYTES * file.st_blocks
    return sum(found.values())


class PeakMemory:
    """Samples the processes until it is left. Each is charged its own memory and the shared memory that
    it has made, which is not counted again at the servers that map it. A context."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.peaks = dict.fromkeys(pids, 0)  # bytes, by name
        self._pids = dict(pids)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            for name, pid in self._pids.items():
                try:
                    held = private_bytes(pid) + offered_bytes(pid)
                except OSError:  # it has ended, or closed a descriptor
                    continue
                self.peaks[name] = max(self.peaks[name], held)
            time.sleep(PERIOD_SECONDS)
