"""The servers of a simulated cluster: shards and the coordinator."""

import collections
import heapq
import math

from model import BLOCK_ENTRIES


class Slice:
    """A layer's entries on a shard: their step, and how many slots of it are staged."""

    def __init__(self, layer, entries):
        self.layer = layer
        self.entries = entries
        self.threads = math.ceil(entries / BLOCK_ENTRIES)  # that can work on it at a time
        self.step = 0
        self.staged = 0
        self.waiting = []  # what to do when the next step is published


class Shard:
    """A parameter server (server/shard/shard_state.cc)."""

    def __init__(self, cluster, host, slices):
        self.cluster = cluster
        self.host = host
        self.threads = cluster.shape.server_cores
        self.slices = [Slice(layer, entries) for layer, entries in slices.items()]

    def await_step(self, piece, step, action):
        """Calls `action` when the slice is at the step."""
        if piece.step >= step:
            action()
        else:
            piece.waiting.append(action)

    def stage(self, piece):
        """Takes a slot's gradient of the slice; the last one starts the update."""
        piece.staged += 1
        if piece.staged < self.cluster.shape.slots:
            return
        costs = self.cluster.costs
        slots = self.cluster.shape.slots
        entry = costs.phase1 + (costs.mean + slots * costs.add if slots > 1 else 0)
        self._compute(piece, costs.update_task + piece.entries * entry,
                      lambda: self.cluster.reduce_norms(self, piece))

    def apply(self, piece):
        """Phase 2, when the norms are known, and publication."""
        self._compute(piece, piece.entries * self.cluster.costs.phase2,
                      lambda: self._publish(piece))

    def _compute(self, piece, work, action):
        self.host.cores.start(work, min(self.threads, piece.threads), action)

    def _publish(self, piece):
        piece.step += 1
        piece.staged = 0
        waiting, piece.waiting = piece.waiting, []
        for action in waiting:
            action()


class Coordinator:
    """Hands out the slots of a step (server/coordinator/coordinator.cc)."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.step = 0
        self.free = []  # slots, a heap
        self.done = 0
        self.waiting = collections.deque()  # workers
        self.step_ends = []  # seconds
        self._answers = collections.deque()
        self._begin_step()

    def _begin_step(self):
        self.free = list(range(self.cluster.shape.slots))
        self.done = 0

    def acquire(self, worker):
        """The call has come; it is answered when there is work."""
        self.waiting.append(worker)
        self._serve()

    def complete(self, worker, slot, done):
        """A lease has ended, well or not; the answer is the next one, or that there is none."""
        if done:
            self.done += 1
        else:
            heapq.heappush(self.free, slot)
        if self.done == self.cluster.shape.slots:
            self.step += 1
            self.step_ends.append(self.cluster.clock.now)
            self._begin_step()
        self._serve()  # those that wait have waited longer
        self._answer(worker, heapq.heappop(self.free) if self.free else None)

    def _serve(self):
        while self.waiting and self.free:
            self._answer(self.waiting.popleft(), heapq.heappop(self.free))

    # One thread gives the answers that a piece of news has made possible, one after the other.
    def _answer(self, worker, slot):
        self._answers.append((worker, self.step, slot))
        if len(self._answers) == 1:
            self._send()

    def _send(self):
        worker, step, slot = self._answers[0]
        call = self.cluster.costs.lease

        def sent():
            self._answers.popleft()
            if self._answers:
                self._send()

        self.cluster.message(self.cluster.shards[0].host, worker.host, call.server / 2,
                             call.client / 2, lambda: worker.take(step, slot), sent=sent)
