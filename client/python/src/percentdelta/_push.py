# SPDX-License-Identifier: Apache-2.0
"""Pushes the gradient of one slot to all shards, each tensor as soon as it is made."""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, Iterator, Optional, Tuple

import grpc

from percentdelta import _wire, errors
from percentdelta._partition import Slice
from percentdelta._shards import Shards
from percentdelta._shared_memory import Memory, SharedMemory
from percentdelta.errors import Error

# Values in one message: 1 MiB by habit, 4 MiB at most, as of one whose values are in shared memory.
_CHUNK_ENTRIES = 1 << 18
_MAX_CHUNK_ENTRIES = 4 * _CHUNK_ENTRIES

# Of gradients that wait for being copied to shared memory: what is beyond, ready() copies itself,
# so that gradients that are made faster than they are copied do not pile up.
_BACKLOG_BYTES = 32 << 20


class Push:
    """One stream a shard. Thread-safe. `deadline`: in seconds, of each stream. `memory`: what the
    gradients are in, or some of them, from shards.memory.for_gradients(); it goes back there when
    all streams have ended well."""

    def __init__(self, shards: Shards, lease: _wire.LeaseFields, deadline: float,
                 memory: Optional[Memory] = None) -> None:
        self._shards = shards
        self._changed = threading.Condition()
        self._running = len(shards)
        self._error: Optional[Error] = None  # the first of any stream
        if memory is None and shards.memory.takers > 0:
            memory = shards.memory.take()
        self._memory = memory
        self._backlog = 0  # bytes
        self._shared = memory if isinstance(memory, SharedMemory) else None
        self._streams = [
            _Stream(shards, shard, lease, self._shared if shards.memory.takes(shard) else None,
                    self._copied)
            for shard in range(len(shards))]
        for stream in self._streams:
            stream.start(deadline, self._done)

    @property
    def memory(self) -> Optional[Memory]:
        """What gradients are copied to, or were in from the first; None: there is none."""
        return self._memory

    def ready(self, tensor: int, values: Any) -> None:
        """Sends the tensor's gradient, a flat float32 array, which must not change until finish()
        has returned. Once a tensor. Keeps the array no longer than it takes to send it."""
        shared, offset = self._shared, self._shards.offsets[tensor]
        if shared is not None and not shared.holds(values, offset):
            with self._changed:
                waits = self._backlog + values.nbytes <= _BACKLOG_BYTES
                self._backlog += values.nbytes if waits else 0
            if not waits:
                place = shared.values[offset:offset + values.size]
                place[:] = values
                values = place
        for stream in self._streams:
            stream.ready(tensor, values)

    def finish(self) -> None:
        """Waits until every shard has taken all of its slices; raises the first error. All tensors
        must be ready."""
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0)
            if self._error is not None:
                raise self._error

    def cancel(self) -> None:
        """Ends the streams: finish() raises unless all was taken before."""
        for stream in self._streams:
            stream.cancel()

    def _copied(self, size: int) -> None:
        with self._changed:
            self._backlog -= size

    def _done(self, error: Optional[Error]) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._running -= 1
            if self._running == 0 and self._error is None and self._memory is not None:
                self._shards.memory.give_back(self._memory)
                self._memory = None
            self._changed.notify_all()


class _Stream:
    """To one shard: its header, then slices in the order in which they become ready; by `memory`,
    if the shard takes it; `copied` gets the bytes of each slice that was copied there."""

    def __init__(self, shards: Shards, shard: int, lease: _wire.LeaseFields,
                 memory: Optional[SharedMemory], copied: Callable[[int], None]) -> None:
        self._memory = memory
        self._copied = copied
        self._shards = shards
        self._shard = shard
        self._lease = lease
        self._slices = shards.partition.of_shard[shard]
        # What to send; None: nothing any more, for the call has ended.
        self._pending: queue.SimpleQueue[Optional[Tuple[Slice, Any]]] = queue.SimpleQueue()
        self._call: Any = None

    def start(self, deadline: float, done: Any) -> None:
        """Begins the call; `done` gets its error, or None, once."""
        def finished(call: Any) -> None:
            self._pending.put(None)
            done(self._error_of(call))

        self._call = self._shards.stub(self._shard).Push.future(self._requests(), timeout=deadline)
        self._call.add_done_callback(finished)

    def ready(self, tensor: int, values: Any) -> None:
        """See Push.ready."""
        part = self._slices.get(tensor)
        if part is not None:
            self._pending.put((part, values))

    def cancel(self) -> None:
        """Ends the call."""
        self._call.cancel()

    def _requests(self) -> Iterator[Any]:
        """Run by a thread of gRPC, which takes a request when the one before has been written."""
        yield _wire.push_header(self._shards.generation, self._lease, self._memory)
        for _ in range(len(self._slices)):
            entry = self._pending.get()
            if entry is None:
                return
            part, values = entry
            yield from (self._chunks(part, values) if self._memory is None
                        else self._shared_chunks(part, values, self._memory))
            del entry, values  # they may be large, and the next may be long in coming

    def _chunks(self, part: Slice, values: Any) -> Iterator[Any]:
        name = self._shards.tensors[part.tensor].name
        for begin in range(part.begin, part.end, _CHUNK_ENTRIES):
            chunk = values[begin:min(begin + _CHUNK_ENTRIES, part.end)]
            yield _wire.push_chunk(name, begin, chunk.astype("<f4", copy=False).tobytes())

    def _shared_chunks(self, part: Slice, values: Any, memory: SharedMemory) -> Iterator[Any]:
        name = self._shards.tensors[part.tensor].name
        offset = self._shards.offsets[part.tensor]
        in_place = memory.holds(values, offset)
        for begin in range(part.begin, part.end, _MAX_CHUNK_ENTRIES):
            end = min(begin + _MAX_CHUNK_ENTRIES, part.end)
            if not in_place:
                memory.values[offset + begin:offset + end] = values[begin:end]
                self._copied(4 * (end - begin))
            yield _wire.push_shared(name, begin, end - begin)

    def _error_of(self, call: Any) -> Optional[Error]:
        prefix = f"push to shard {self._shard} at {self._shards.addresses[self._shard]}: "
        try:
            call.result()
        except grpc.FutureCancelledError:
            return errors.make("CANCELLED", prefix + "cancelled")
        except grpc.RpcError as error:
            failure = errors.from_rpc(error, prefix)
            if self._memory is not None and failure.code == "FAILED_PRECONDITION":
                # Perhaps for want of the memory: then it would be again.
                self._shards.memory.note(self._shard, False)
            return failure
        return None
