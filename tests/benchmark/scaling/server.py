# SPDX-License-Identifier: Apache-2.0
"""The servers of a simulated cluster: shards and the coordinator."""

import collections
import heapq
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.benchmark.scaling.events import Action
from tests.benchmark.scaling.model import BLOCK_ENTRIES


if TYPE_CHECKING:
    from tests.benchmark.scaling.simulator import Cluster, Host
    from tests.benchmark.scaling.worker import Worker


class Slice:
    """A layer's entries on a shard: their step, and the number of slots of it that are staged."""

    def __init__(self, layer: str, entries: int) -> None:
        self.layer = layer
        self.entries = entries
        self.threads = math.ceil(entries / BLOCK_ENTRIES)  # that can work on it at the same time
        self.step = 0
        self.staged = 0
        self.waiting: list[Action] = []  # called when the next step is published


class Shard:
    """A parameter server (server/shard/shard_state.cc)."""

    def __init__(self, cluster: "Cluster", host: "Host", slices: Mapping[str, int]) -> None:
        self.cluster = cluster
        self.host = host
        self.threads = cluster.shape.server_cores
        self.slices = [Slice(layer, entries) for layer, entries in slices.items()]

    def await_step(self, piece: Slice, step: int, action: Action) -> None:
        """Calls `action` when the slice is at the step."""
        if piece.step >= step:
            action()
        else:
            piece.waiting.append(action)

    def stage(self, piece: Slice) -> None:
        """Takes a slot's gradient of the slice; the last one starts the update."""
        piece.staged += 1
        if piece.staged < self.cluster.shape.slots:
            return
        costs = self.cluster.costs
        slots = self.cluster.shape.slots
        entry = costs.phase1 + (costs.mean + slots * costs.add if slots > 1 else 0)
        self._compute(piece, costs.update_task + piece.entries * entry,
                      lambda: self.cluster.reduce_norms(self, piece))

    def apply(self, piece: Slice) -> None:
        """Phase 2, when the norms are known, and publication."""
        self._compute(piece, piece.entries * self.cluster.costs.phase2,
                      lambda: self._publish(piece))

    def _compute(self, piece: Slice, work: float, action: Action) -> None:
        self.host.cores.start(work, min(self.threads, piece.threads), action)

    def _publish(self, piece: Slice) -> None:
        piece.step += 1
        piece.staged = 0
        waiting, piece.waiting = piece.waiting, []
        for action in waiting:
            action()


class Coordinator:
    """Hands out the slots of a step (server/coordinator/coordinator.cc)."""

    def __init__(self, cluster: "Cluster") -> None:
        self.cluster = cluster
        self.step = 0
        self.free: list[int] = []  # slots, a heap
        self.done = 0
        self.waiting: collections.deque["Worker"] = collections.deque()  # workers
        self.step_ends: list[float] = []  # seconds
        self._answers: collections.deque[tuple["Worker", int, int | None]] = collections.deque()
        self._begin_step()

    def _begin_step(self) -> None:
        self.free = list(range(self.cluster.shape.slots))
        self.done = 0

    def acquire(self, worker: "Worker") -> None:
        """Takes the call, and answers it when there is work."""
        self.waiting.append(worker)
        self._serve()

    def complete(self, worker: "Worker", slot: int, done: bool) -> None:
        """Takes the end of a lease; answers with the next one, or with none."""
        if done:
            self.done += 1
        else:
            heapq.heappush(self.free, slot)
        if self.done == self.cluster.shape.slots:
            self.step += 1
            self.step_ends.append(self.cluster.clock.now)
            self._begin_step()
        self._serve()  # those that wait came first
        self._answer(worker, heapq.heappop(self.free) if self.free else None)

    def _serve(self) -> None:
        while self.waiting and self.free:
            self._answer(self.waiting.popleft(), heapq.heappop(self.free))

    # One thread sends the answers that an event has made possible, one after the other.
    def _answer(self, worker: "Worker", slot: int | None) -> None:
        self._answers.append((worker, self.step, slot))
        if len(self._answers) == 1:
            self._send()

    def _send(self) -> None:
        worker, step, slot = self._answers[0]
        call = self.cluster.costs.lease

        def sent() -> None:
            self._answers.popleft()
            if self._answers:
                self._send()

        self.cluster.message(self.cluster.shards[0].host, worker.host, call.server / 2,
                             call.client / 2, lambda: worker.take(step, slot), sent=sent)
