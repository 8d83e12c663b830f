# SPDX-License-Identifier: Apache-2.0
"""The workers of a simulated cluster, and the streams between them and the shards."""

import collections
import functools
from typing import TYPE_CHECKING

from tests.benchmark.scaling.events import Action
from tests.benchmark.scaling.model import (
    BUFFERS_KEPT, BYTES_KEPT, BYTES_PER_ENTRY, CHUNK_ENTRIES, Call, PAUSE_AFTER_FAILURE)
from tests.benchmark.scaling.server import Shard, Slice

if TYPE_CHECKING:
    from tests.benchmark.scaling.simulator import Cluster, Host


class Weights:
    """A step's weights on a worker, with the streams that bring them (worker/weight_source.h)."""

    def __init__(self, worker: "Worker", step: int) -> None:
        self.worker = worker
        self.step = step
        self.missing = dict(worker.cluster.parts)  # by layer: slices still to arrive
        for shard in worker.cluster.shards:
            Pull(self, shard)

    def has_come(self, layer: str) -> None:
        """Takes a slice of the layer."""
        self.missing[layer] -= 1
        if self.missing[layer] == 0:
            self.worker.look_for(layer)


class Worker:
    """Leases, pulls, computes, pushes (worker/worker.cc)."""

    def __init__(self, cluster: "Cluster", host: "Host") -> None:
        self.cluster = cluster
        self.host = host
        self.step = self.slot = 0  # of the lease in hand
        self.present: Weights | None = None
        self.next: Weights | None = None
        self.gathered: tuple[int, int] | None = None  # (step, slot) of the prepared batch
        # The layer that the gradient waits for, and the index of its mark.
        self.awaited: tuple[str, int] | None = None
        self.refused = False  # the shards refuse further pushes
        self.pushes: list[Push] = []  # by shard
        self.left = 0  # shards that have not acknowledged the push, and the worker

    def ask(self) -> None:
        """Asks for a lease."""
        cluster, call = self.cluster, self.cluster.costs.lease
        cluster.message(self.host, cluster.shards[0].host, call.client / 2, call.server / 2,
                        lambda: cluster.coordinator.acquire(self))

    def take(self, step: int, slot: int | None) -> None:
        """Takes the coordinator's answer: a slot of the step, or None."""
        if slot is None:
            self.ask()
            return
        cluster = self.cluster
        self.step, self.slot = step, slot
        if self.present is None or self.present.step != step:
            if self.next is not None and self.next.step == step:
                self.present, self.next = self.next, self.present
            else:
                self.present = Weights(self, step)
        self.refused = cluster.open_pushes >= cluster.shape.pushes_at_once
        if not self.refused:
            cluster.open_pushes += 1
        self.left = len(cluster.shards) + 1
        self.pushes = [Push(self, shard) for shard in cluster.shards]
        self._gather((step, slot), lambda: self._compute(0, 0.0))

    def _present(self) -> Weights:
        assert self.present is not None
        return self.present

    def _gather(self, batch: tuple[int, int], action: Action) -> None:
        if self.gathered == batch:
            action()
            return
        self.gathered = batch
        self.host.cores.start(self.cluster.costs.gather, 1, action)

    def _compute(self, index: int, since: float) -> None:
        """Continues from the mark before the index, which is `since` seconds after the start."""
        marks = self.cluster.costs.marks
        if index == len(marks):
            if self.refused:
                self.cluster.clock.after(PAUSE_AFTER_FAILURE, lambda: self._report(False))
            else:  # while the last gradients are in flight, the likely next batch
                self._gather((self.step + 1, self.slot), self.has_pushed)
            return
        threads = self.cluster.costs.threads
        self.host.cores.start((marks[index][2] - since) * threads, threads,
                              lambda: self._reach(index))

    def _reach(self, index: int) -> None:
        kind, layer, since = self.cluster.costs.marks[index]
        if kind == "needs" and self._present().missing[layer] > 0:
            self.awaited = layer, index
            return
        if kind == "makes":
            if not self.refused:
                for push in self.pushes:
                    push.ready(layer)
            if self.next is None or self.next.step != self.step + 1:
                self.next = Weights(self, self.step + 1)
        self._compute(index + 1, since)

    def look_for(self, layer: str) -> None:
        """Continues if the gradient waits for the current weights of the layer."""
        if self.awaited and self.awaited[0] == layer and self._present().missing[layer] == 0:
            index = self.awaited[1]
            self.awaited = None
            self._reach(index)

    def has_pushed(self) -> None:
        """Counts an acknowledgement: of a shard, or of the worker when it can only wait."""
        self.left -= 1
        if self.left == 0:
            self.cluster.open_pushes -= 1
            self._report(True)

    def _report(self, done: bool) -> None:
        cluster, call, slot = self.cluster, self.cluster.costs.lease, self.slot
        cluster.message(self.host, cluster.shards[0].host, call.client / 2, call.server / 2,
                        lambda: cluster.coordinator.complete(self, slot, done))


class Pull:
    """A stream of weights: chunk after chunk, always of the first slice that is published."""

    def __init__(self, weights: Weights, shard: Shard) -> None:
        self.weights = weights
        self.worker = weights.worker
        self.shard = shard
        self.left: dict[Slice, int] = {}  # entries to be sent, by published slice
        self.busy = False
        cluster = self.worker.cluster
        # The request takes a hop; its processor time counts with the first chunk.
        self.call = cluster.costs.pull
        cluster.clock.after(cluster.hop(self.worker.host, shard.host), self._arrive)

    def _arrive(self) -> None:
        for piece in self.shard.slices:
            self.shard.await_step(piece, self.weights.step, functools.partial(self._ready, piece))

    def _ready(self, piece: Slice) -> None:
        self.left[piece] = piece.entries
        if not self.busy:
            self.busy = True
            # Slices published at the same time are sent in the job's order.
            self.worker.cluster.clock.after(0, self._send)

    def _send(self) -> None:
        self.busy = bool(self.left)
        if not self.busy:
            return
        costs = self.worker.cluster.costs
        piece = next(piece for piece in self.shard.slices if piece in self.left)
        entries = min(self.left[piece], CHUNK_ENTRIES)
        self.left[piece] -= entries
        is_last = self.left[piece] == 0
        if is_last:
            del self.left[piece]
        call, self.call = self.call, Call(0, 0)
        size = entries * BYTES_PER_ENTRY
        self.worker.cluster.message(
            self.shard.host, self.worker.host, call.server + size * costs.pull_send,
            call.client + size * costs.pull_receive,
            lambda: self.weights.has_come(piece.layer) if is_last else None,
            size=size, pace=costs.pull_pace, sent=self._send)


class Push:
    """A stream of gradients: slices are sent one after the other, as they are made."""

    def __init__(self, worker: Worker, shard: Shard) -> None:
        self.worker = worker
        self.shard = shard
        self.made: collections.deque[Slice] = collections.deque()
        self.left = len(shard.slices)
        self.busy = False
        self.call = worker.cluster.costs.push  # its processor time counts with the first slice
        if not shard.slices:
            self._acknowledge()

    def ready(self, layer: str) -> None:
        """Takes the layer's gradient."""
        self.made.extend(piece for piece in self.shard.slices if piece.layer == layer)
        if not self.busy:
            self._send()

    def _send(self) -> None:
        self.busy = bool(self.made)
        if not self.busy:
            return
        costs = self.worker.cluster.costs
        piece = self.made.popleft()
        call, self.call = self.call, Call(0, 0)
        size = piece.entries * BYTES_PER_ENTRY
        is_fresh = (piece.staged - BUFFERS_KEPT) * size > BYTES_KEPT
        receive = costs.push_receive_fresh if is_fresh else costs.push_receive
        self.worker.cluster.message(
            self.worker.host, self.shard.host, call.client + size * costs.push_send,
            call.server + size * receive, lambda: self._arrive(piece),
            size=size, pace=costs.push_pace, sent=self._send)

    def _arrive(self, piece: Slice) -> None:
        self.left -= 1
        if self.left == 0:
            self._acknowledge()
        self.shard.stage(piece)

    def _acknowledge(self) -> None:
        cluster = self.worker.cluster
        cluster.clock.after(cluster.hop(self.shard.host, self.worker.host), self.worker.has_pushed)
