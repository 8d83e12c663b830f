"""What the simulator and the formula are told: what things take, and what the cluster is.

The numbers in capitals are the code's own; beside each stands where it comes from.
"""

import collections
import dataclasses
import math

BLOCK_ENTRIES = 16384  # common/job/partition.h
CHUNK_ENTRIES = 16 * BLOCK_ENTRIES
BYTES_PER_ENTRY = 4
BUFFERS_KEPT = 3  # of a slice, server/shard/buffer_pool.h
BYTES_KEPT = 64 << 20  # of freed memory, common/base/memory.h
PUSHES_AT_ONCE = 256  # server/rpc/push.h
PAUSE_AFTER_FAILURE = 0.015  # worker/worker.cc: the first one's mean


@dataclasses.dataclass(frozen=True)
class Call:
    """Seconds of processor time of a call without payload, on either side."""
    client: float
    server: float


@dataclasses.dataclass(frozen=True)
class Costs:
    """What things take. Measured by measure.py, but for the cluster's network."""
    layers: dict  # entries of a layer's tensors, in the job's order
    gather: float  # seconds to put a batch together
    marks: tuple  # ("needs" or "makes", layer, seconds since the start), in order, on...
    threads: int  # ...so many threads of a worker
    lease: Call  # any call that is one message each way
    pull: Call  # a stream
    push: Call
    pull_send: float  # processor seconds a byte: server...
    pull_receive: float  # ...worker...
    pull_pace: float  # ...and seconds a byte of a stream that nothing else disturbs
    push_send: float
    push_receive: float  # into a buffer that was used before
    push_receive_fresh: float  # into memory fresh from the kernel
    push_pace: float
    update_task: float  # processor seconds of an update, beside what follows
    phase1: float  # processor seconds an entry
    phase2: float
    mean: float  # with several slots, beside...
    add: float  # ...so much a slot
    hop: float  # seconds until the other side goes on, over loopback

    def without_gradient(self):
        """Those of a null worker: it pulls everything, and has made all gradients at once."""
        needs = tuple(("needs", layer, 0.0) for layer in self.layers)
        makes = tuple(("makes", layer, 0.0) for layer in reversed(self.layers))
        return dataclasses.replace(self, gather=0.0, marks=needs + makes)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A cluster, and how much it does in a step."""
    workers: int
    shards: int
    slots: int
    worker_cores: int = 2
    server_cores: int = 2
    bandwidth: float = math.inf  # bytes a second, in each direction, of every machine
    latency: float = 0.0  # of the network, seconds one way
    one_host: bool = False  # all on one machine of `server_cores`, over loopback
    pushes_at_once: int = PUSHES_AT_ONCE


def partition(layers, shards):
    """Entries of each layer on each shard, as common/job/partition.cc deals them: [{layer: entries}].

    `layers` gives each layer's tensors: {layer: [entries]}.
    """
    total = sum(map(sum, layers.values()))
    result = [collections.Counter() for _ in range(shards)]
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
