# SPDX-License-Identifier: Apache-2.0
"""Simulates the steps of a training on a cluster that need not exist (docs/scaling.md).

The actors are those of docs/architecture.md: workers, shards and the coordinator in shard 0. They
act in the order of the code, but instead of computing and sending they hold shares of processors and
network interfaces for the time that it takes. Every worker, shard and stream is simulated by itself; a
message is a layer's slice, or a chunk of it.
"""

import functools
import math

from tests.benchmark.scaling.events import Action, Clock, FairShare
from tests.benchmark.scaling.model import Costs, Shape, partition
from tests.benchmark.scaling.server import Coordinator, Shard, Slice
from tests.benchmark.scaling.worker import Worker


class Host:
    """A machine, or the part of one that a process has for itself."""

    def __init__(self, clock: Clock, cores: int, bandwidth: float) -> None:
        self.cores = FairShare(clock, cores, 1)
        self.out = FairShare(clock, bandwidth, bandwidth)
        self.into = FairShare(clock, bandwidth, bandwidth)


class Cluster:
    """The cluster."""

    def __init__(self, costs: Costs, shape: Shape) -> None:
        self.costs = costs
        self.shape = shape
        self.clock = Clock()
        self.open_pushes = 0
        host = Host(self.clock, shape.server_cores, shape.bandwidth)
        layout = partition(costs.layers, shape.shards)
        self.shards = [Shard(self, self._host(host, shape.server_cores), slices)
                       for slices in layout]
        self.parts = {layer: sum(layer in slices for slices in layout) for layer in costs.layers}
        self.homes = {layer: next(index for index, slices in enumerate(layout) if layer in slices)
                      for layer in costs.layers}
        # The slices whose norms have arrived.
        self.norms: dict[str, list[tuple[Shard, Slice]]] = {layer: [] for layer in costs.layers}
        self.coordinator = Coordinator(self)
        self.workers = [Worker(self, self._host(host, shape.worker_cores))
                        for _ in range(shape.workers)]

    def _host(self, host: Host, cores: int) -> Host:
        return host if self.shape.one_host else Host(self.clock, cores, self.shape.bandwidth)

    def hop(self, source: Host, target: Host) -> float:
        """Returns the seconds from the end of the work on a message until the other side continues."""
        return self.costs.hop + (0 if source is target else self.shape.latency)

    def message(self, source: Host, target: Host, source_work: float, target_work: float,
                arrived: Action, size: int = 0, pace: float = 0.0,
                sent: Action | None = None) -> None:
        """Sends `size` bytes, which take processor seconds on both sides. Processors and network work
        at the same time, piece by piece: the bytes are sent when the slowest is done, and not before
        `pace` seconds a byte. They arrive a hop later."""
        works = [(source.cores, source_work), (target.cores, target_work)]
        if source is not target and size > 0 and self.shape.bandwidth < math.inf:
            works += [(source.out, size), (target.into, size)]
        left = len(works) + 1

        def part_done() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.clock.after(self.hop(source, target), arrived)
                if sent:
                    sent()

        for resource, work in works:
            resource.start(work, 1, part_done)
        self.clock.after(size * pace, part_done)

    def reduce_norms(self, shard: Shard, piece: Slice) -> None:
        """Takes a slice's norms; those of a split layer go to its home, which answers."""
        layer = piece.layer
        if self.parts[layer] == 1:
            shard.apply(piece)
            return
        home, call = self.shards[self.homes[layer]], self.costs.lease

        def contribute() -> None:
            norms = self.norms[layer]
            norms.append((shard, piece))
            if len(norms) < self.parts[layer]:
                return
            self.norms[layer] = []
            for contributor, part in norms:
                if contributor is home:
                    contributor.apply(part)
                else:
                    self.message(home.host, contributor.host, call.server / 2, call.client / 2,
                                 functools.partial(contributor.apply, part))

        if home is shard:
            contribute()
        else:
            self.message(shard.host, home.host, call.client / 2, call.server / 2, contribute)


def seconds_per_step(costs: Costs, shape: Shape, steps: int = 2,
                     warm_up: int = 1) -> tuple[float, Cluster]:
    """Returns the mean over `steps` after `warm_up`, and the cluster at the end."""
    cluster = Cluster(costs, shape)
    for worker in cluster.workers:
        worker.ask()
    ends = cluster.coordinator.step_ends
    if not cluster.clock.run(lambda: len(ends) >= warm_up + steps):
        raise RuntimeError(f"the simulated training has stopped: {shape}")
    first = ends[warm_up - 1] if warm_up else 0.0
    return (ends[warm_up + steps - 1] - first) / steps, cluster
