# SPDX-License-Identifier: Apache-2.0
"""Memory that servers on this machine read and write, so that values need not go through the
kernel: common/transport/shared_memory.h and offered_memory.h in Python."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import sys
import threading
import weakref
from typing import Any, List, Optional, Sequence

import numpy as np

_log = logging.getLogger("percentdelta")

_NAME = "percentdelta"
_KEY_BYTES = 16
_HEAD_BYTES = 4096  # before the values, which begin on a page
_VALUE = np.dtype("<f4")


class Memory:
    """Of this process alone, for `values` float32 values, undefined at first. Only those that are
    touched take memory."""

    def __init__(self, values: int) -> None:
        self.values = np.empty(values, np.float32)

    def arrays(self, sizes: Sequence[int]) -> List[Any]:
        """The tensors in it: a flat array for each size, laid end to end."""
        return np.split(self.values, np.cumsum(sizes)[:-1]) if sizes else []

    def holds(self, array: Any, offset: int) -> bool:
        """Whether an array's first value lies at `offset` of the values."""
        return bool(array.ctypes.data == self.values.ctypes.data + offset * self.values.itemsize)


class SharedMemory(Memory):
    """A sealed memfd of `values` float32 values, all 0. Only those that are touched take memory.
    It lives as long as this object or an array of it. OSError: the system has none."""

    def __init__(self, values: int) -> None:
        size = _HEAD_BYTES + values * _VALUE.itemsize
        self.process = os.getpid()
        self.descriptor = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, size)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        mapping = mmap.mmap(self.descriptor, size)
        self.key = os.urandom(_KEY_BYTES)
        mapping[:_KEY_BYTES] = self.key
        self.values = np.frombuffer(mapping, _VALUE, values, _HEAD_BYTES)


class OfferedMemory:
    """What is known of the shards of one generation: which take memory that is offered to them,
    those on this machine. Thread-safe. Memory whose call did not end well must not be used again: a
    shard that hung may still be about to read or write it."""

    def __init__(self, values: int, shards: int, offers: bool) -> None:
        self._values = values
        self._lock = threading.Lock()
        # None: not known yet. The names of the system are Linux's.
        self._answers: List[Optional[bool]] = [None if offers and hasattr(os, "memfd_create")
                                               and sys.byteorder == "little" else False] * shards
        self._free: List[SharedMemory] = []
        self._spare: Optional[Memory] = None

    def may_take(self, shard: int) -> bool:
        """Whether the shard has not refused."""
        return self._answers[shard] is not False

    def takes(self, shard: int) -> bool:
        """Whether the shard is known to take it."""
        return self._answers[shard] is True

    @property
    def takers(self) -> int:
        """How many are known to."""
        return self._answers.count(True)

    def note(self, shard: int, taken: bool) -> None:
        """What a shard has done with memory that was offered. A refusal is final."""
        with self._lock:
            if self._answers[shard] is not False:
                self._answers[shard] = taken

    def make(self) -> Optional[SharedMemory]:
        """Memory for a call; None: no shard would take it, or the system has none."""
        if not any(self.may_take(shard) for shard in range(len(self._answers))):
            return None
        try:
            return SharedMemory(self._values)
        except OSError as error:
            _log.info("no shared memory: %s", error)
            with self._lock:
                self._answers = [False] * len(self._answers)
            return None

    def take(self) -> Optional[SharedMemory]:
        """Like make(), but what was given back is used again."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return self.make()

    def for_gradients(self) -> Memory:
        """Memory to compute gradients into: such as shards take, if some do, or else this
        process's own. Like take(), what was given back is used again."""
        memory: Optional[Memory] = self.take() if self.takers > 0 else None
        with self._lock:
            spare, self._spare = self._spare, None
        return memory or spare or Memory(self._values)

    def give_back(self, memory: Memory) -> None:
        """For the next call, when all calls that had it ended well."""
        with self._lock:
            if isinstance(memory, SharedMemory):
                self._free.append(memory)
            else:
                self._spare = memory
