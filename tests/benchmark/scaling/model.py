# SPDX-License-Identifier: Apache-2.0
"""The input of the simulator and the formula: the costs, and the cluster.

The constants are the code's own; a comment names the source of each.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence

Layers = Mapping[str, Sequence[int]]  # entries of each layer's tensors, in the job's order
Mark = tuple[str, str, float]  # "needs" or "makes", layer, seconds since the start

BLOCK_ENTRIES = 16384  # common/partition.h
CHUNK_ENTRIES = 16 * BLOCK_ENTRIES
BYTES_PER_ENTRY = 4
BUFFERS_KEPT = 3  # of a slice, server/buffer_pool.h
BYTES_KEPT = 64 << 20  # of freed memory, common/memory.h
PUSHES_AT_ONCE = 256  # server/rpc/push.h
PAUSE_AFTER_FAILURE = 0.015  # worker/worker.cc: the first one's mean


@dataclasses.dataclass(frozen=True)
class Call:
    """Seconds of processor time of a call without payload, on either side."""
    client: float
    server: float


@dataclasses.dataclass(frozen=True)
class Costs:
    """Costs. Measured by measure.py, except the cluster's network."""
    layers: Layers  # entries of a layer's tensors, in the job's order
    gather: float  # seconds to put a batch together
    marks: tuple[Mark, ...]  # in order of time, on...
    threads: int  # ...this number of threads of a worker
    lease: Call  # any call that is one message each way
    pull: Call  # a stream
    push: Call
    pull_send: float  # processor seconds a byte: server...
    pull_receive: float  # ...worker...
    pull_pace: float  # ...and seconds a byte of an undisturbed stream
    push_send: float
    push_receive: float  # into a buffer used before
    push_receive_fresh: float  # into memory fresh from the kernel
    push_pace: float
    update_task: float  # processor seconds of an update, without what follows
    phase1: float  # processor seconds an entry
    phase2: float
    mean: float  # with several slots, in addition...
    add: float  # ...this for each slot
    hop: float  # seconds until the other side continues, over loopback

    def without_gradient(self) -> "Costs":
        """Returns the costs of a null worker: it pulls everything, and has all gradients at once."""
        needs = tuple(("needs", layer, 0.0) for layer in self.layers)
        makes = tuple(("makes", layer, 0.0) for layer in reversed(list(self.layers)))
        return dataclasses.replace(self, gather=0.0, marks=needs + makes)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A cluster, and the work of a step."""
    workers: int
    shards: int
    slots: int
    worker_cores: int = 2
    server_cores: int = 2
    bandwidth: float = math.inf  # bytes a second, in each direction, of every machine
    latency: float = 0.0  # of the network, seconds one way
    one_host: bool = False  # all on one machine of `server_cores`, over loopback
    pushes_at_once: int = PUSHES_AT_ONCE


def partition(layers: Layers, shards: int) -> list[Counter[str]]:
    """Returns the entries of each layer on each shard, as common/job/partition.cc does:
    [{layer: entries}].

    `layers` gives each layer's tensors: {layer: [entries]}.
    """
    total = sum(sum(tensors) for tensors in layers.values())
    result = [Counter[str]() for _ in range(shards)]
    shard = dealt = 0
    for layer, tensors in layers.items():
        for size in tensors:
            for begin in range(0, size, BLOCK_ENTRIES):
                while shard + 1 < shards and dealt * shards >= total * (shard + 1):
                    shard += 1
                entries = min(BLOCK_ENTRIES, size - begin)
                result[shard][layer] += entries
                dealt += entries
    return result
