# SPDX-License-Identifier: Apache-2.0
"""Pulls the weights of one step from all shards, each tensor as soon as it is there."""

from __future__ import annotations

import threading
from typing import Any, List, Optional, Sequence

import grpc
import numpy as np

from percentdelta import _wire, errors
from percentdelta._shards import Shards
from percentdelta._shared_memory import SharedMemory
from percentdelta._text import quoted
from percentdelta.errors import Error, ServerError

_ENTRY_BYTES = 4
_LINE_ENTRIES = 16
_WIRE_TYPE = np.dtype("<f4")


def _data_loss(message: str) -> ServerError:
    error = ServerError(message)
    error.code = "DATA_LOSS"
    return error


def _aligned(size: int) -> Any:
    """A float32 array that begins on a cache line, as libraries like it best."""
    memory = np.empty(size + _LINE_ENTRIES, np.float32)
    begin = -memory.ctypes.data // _ENTRY_BYTES % _LINE_ENTRIES
    return memory[begin:begin + size]


class Pull:
    """One stream a shard, each read by a thread of its own. Thread-safe.

    `arrays`: a flat float32 array a tensor, in the job's order; no other code may touch those that
    have not been waited for. `memory`: what the arrays are in, if shards may write it themselves;
    after a pull that did not end well it must not be used again. `deadline`: in seconds, of each
    stream.
    """

    def __init__(self, shards: Shards, step: int, deadline: float, arrays: Sequence[Any],
                 memory: Optional[SharedMemory] = None) -> None:
        self.step = step
        self._shards = shards
        self._arrays = arrays
        self._changed = threading.Condition()
        self._missing = [each.size for each in shards.tensors]  # entries, by tensor
        self._error: Optional[Error] = None  # the first of any stream
        self._running = len(shards)
        self._offered = [memory is not None and shards.memory.may_take(shard)
                         for shard in range(len(shards))]
        self._calls = [
            shards.stub(shard).Pull(_wire.pull_request(
                shards.generation, step, memory if self._offered[shard] else None),
                timeout=deadline)
            for shard in range(len(shards))]
        for shard, call in enumerate(self._calls):
            threading.Thread(target=self._read, args=(shard, call), daemon=True,
                             name=f"percentdelta-pull-{shard}").start()

    @property
    def failed(self) -> bool:
        """Whether a stream has ended with an error."""
        return self._error is not None

    def is_whole(self, tensor: int) -> bool:
        """Whether all values of the tensor are there."""
        return self._missing[tensor] == 0

    def wait(self, tensor: int) -> None:
        """Returns when the tensor is whole; raises the first error that any stream had."""
        with self._changed:
            self._changed.wait_for(lambda: self._missing[tensor] == 0 or self._error is not None)
            if self._missing[tensor] != 0 and self._error is not None:
                raise self._error

    def wait_all(self) -> None:
        """Returns when all streams have ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0)
            if self._error is not None:
                raise self._error

    def cancel(self) -> None:
        """Ends the streams; what waits raises. Returns when no thread writes to the arrays."""
        for call in self._calls:
            call.cancel()
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0)

    def _read(self, shard: int, call: Any) -> None:
        error: Optional[Error] = None
        try:
            self._take_all(shard, call)
        except grpc.RpcError as rpc_error:
            error = errors.from_rpc(rpc_error, self._prefix(shard))
        except Error as bad:
            call.cancel()
            error = errors.make(bad.code, f"{self._prefix(shard)}{bad}")
        except Exception as bug:  # or wait() would wait in vain
            call.cancel()
            error = errors.make("INTERNAL", f"{self._prefix(shard)}{type(bug).__name__}: {bug}")
        with self._changed:
            if self._error is None:
                self._error = error
            self._running -= 1
            self._changed.notify_all()

    def _prefix(self, shard: int) -> str:
        return f"pull from shard {shard} at {self._shards.addresses[shard]}: "

    def _take_all(self, shard: int, call: Any) -> None:
        slices = self._shards.partition.of_shard[shard]
        received = dict.fromkeys(slices, 0)
        for response in call:
            name, begin, values, shared = _wire.chunk_from(response)
            tensor = self._shards.index.get(name, -1)
            if tensor not in slices:
                raise _data_loss(f"expected tensors of the shard, got {quoted(name)}")
            part = slices[tensor]
            count, rest = (shared, 0) if shared else divmod(len(values), _ENTRY_BYTES)
            expected = part.begin + received[tensor]
            if begin != expected or rest or not 0 < count <= part.end - expected:
                got = f"{shared} shared values" if shared else f"{len(values)} bytes"
                raise _data_loss(f"tensor {name}: expected values from entry {expected} up to "
                                 f"{part.end}, got {got} from {begin}")
            if shared and not self._offered[shard]:
                raise _data_loss(f"tensor {name}: expected its values, got a word that they are in "
                                 f"memory that was not offered")
            if not shared:
                self._arrays[tensor][begin:begin + count] = np.frombuffer(values, _WIRE_TYPE)
            if self._offered[shard] and received[tensor] == 0:
                self._shards.memory.note(shard, bool(shared))
            received[tensor] += count
            with self._changed:
                self._missing[tensor] -= count
                if self._missing[tensor] == 0:
                    self._changed.notify_all()
        for tensor, part in slices.items():
            if received[tensor] != part.end - part.begin:
                raise _data_loss(f"tensor {self._shards.tensors[tensor].name}: expected "
                                 f"{part.end - part.begin} values, got {received[tensor]}")


class WeightSource:
    """The weights that a worker computes with: those of one step at hand, those of the next on
    their way while the gradient is still being computed. Of one generation; holds up to two copies
    of the model. Not thread-safe, apart from what Pull is."""

    class _Version:
        def __init__(self) -> None:
            self.arrays: List[Any] = []
            self.memory: Optional[SharedMemory] = None  # that the arrays are in; None: in none
            self.pull: Optional[Pull] = None

        def has(self, step: int) -> bool:
            """Whether it holds that step, or will."""
            return self.pull is not None and self.pull.step == step and not self.pull.failed

    def __init__(self, shards: Shards, deadline: float) -> None:
        self._shards = shards
        self._deadline = deadline
        self._present = self._Version()
        self._next = self._Version()

    def turn(self, step: int) -> Pull:
        """The weights of `step`: those that are held, or under way, or else a fresh pull. The
        arrays of the step before may change from now on."""
        if not self._present.has(step) and self._next.has(step):
            self._present, self._next = self._next, self._present
        if not self._present.has(step):
            self._pull(self._present, step)
        assert self._present.pull is not None
        return self._present.pull

    @property
    def arrays(self) -> List[Any]:
        """Flat, in the job's order; each tensor's from when it has been waited for."""
        return self._present.arrays

    def prefetch(self, step: int) -> None:
        """Begins to pull a step that is likely to be the next: its slices come as the shards
        publish them."""
        if not self._next.has(step):
            self._pull(self._next, step)

    def cancel(self) -> None:
        """Ends the pulls."""
        for version in (self._present, self._next):
            if version.pull is not None:
                version.pull.cancel()

    def _pull(self, version: _Version, step: int) -> None:
        if version.pull is not None:
            version.pull.cancel()
            if version.pull.failed and version.memory is not None:
                version.arrays = []
        if not version.arrays:
            version.memory = self._shards.memory.make()
            version.arrays = ([_aligned(size) for size in self._shards.sizes]
                              if version.memory is None
                              else version.memory.arrays(self._shards.sizes))
        version.pull = Pull(self._shards, step, self._deadline, version.arrays, version.memory)
