"""Replays the steps of a training on a cluster that may not exist (docs/scaling.md).

The actors are those of docs/architecture.md: workers, shards and the coordinator in shard 0. They
do what the code does, in the order in which it does it, but instead of computing and sending they
hold shares of processors and network interfaces for as long as that takes. Every worker, shard and
stream is there by itself; what is sent at a time is a layer's slice, or a chunk of it.
"""

import math

from tests.benchmark.scaling.events import Clock, FairShare
from tests.benchmark.scaling.model import partition
from tests.benchmark.scaling.server import Coordinator, Shard
from tests.benchmark.scaling.worker import Worker


class Host:
    """A machine, or what of one a process has to itself."""

    def __init__(self, clock, cores, bandwidth):
        self.cores = FairShare(clock, cores, 1)
        self.out = FairShare(clock, bandwidth, bandwidth)
        self.into = FairShare(clock, bandwidth, bandwidth)


class Cluster:
    """All of it."""

    def __init__(self, costs, shape):
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
        self.norms = {layer: [] for layer in costs.layers}  # the slices whose norms have come
        self.coordinator = Coordinator(self)
        self.workers = [Worker(self, self._host(host, shape.worker_cores))
                        for _ in range(shape.workers)]

    def _host(self, host, cores):
        return host if self.shape.one_host else Host(self.clock, cores, self.shape.bandwidth)

    def hop(self, source, target):
        """Seconds from the end of the work on a message until the other side goes on."""
        return self.costs.hop + (0 if source is target else self.shape.latency)

    def message(self, source, target, source_work, target_work, arrived, size=0, pace=0.0,
                sent=None):
        """Sends so many bytes, which take processor seconds on both sides. These and the network
        work on them at the same time, piece by piece, so that they are sent when the slowest is
        done, and after `pace` seconds a byte. They have arrived a hop later."""
        works = [(source.cores, source_work), (target.cores, target_work)]
        if source is not target and size > 0 and self.shape.bandwidth < math.inf:
            works += [(source.out, size), (target.into, size)]
        left = len(works) + 1

        def part_done():
            nonlocal left
            left -= 1
            if left == 0:
                self.clock.after(self.hop(source, target), arrived)
                if sent:
                    sent()

        for resource, work in works:
            resource.start(work, 1, part_done)
        self.clock.after(size * pace, part_done)

    def reduce_norms(self, shard, piece):
        """A slice's norms are there; those of a split layer go to its home, which answers."""
        layer = piece.layer
        if self.parts[layer] == 1:
            shard.apply(piece)
            return
        home, call = self.shards[self.homes[layer]], self.costs.lease

        def contribute():
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
                                 lambda c=contributor, p=part: c.apply(p))

        if home is shard:
            contribute()
        else:
            self.message(shard.host, home.host, call.client / 2, call.server / 2, contribute)


def seconds_per_step(costs, shape, steps=2, warm_up=1):
    """The mean over `steps` after `warm_up`, and the cluster as it is then."""
    cluster = Cluster(costs, shape)
    for worker in cluster.workers:
        worker.ask()
    ends = cluster.coordinator.step_ends
    if not cluster.clock.run(lambda: len(ends) >= warm_up + steps):
        raise RuntimeError(f"the simulated training has come to a stop: {shape}")
    first = ends[warm_up - 1] if warm_up else 0.0
    return (ends[warm_up + steps - 1] - first) / steps, cluster
