# SPDX-License-Identifier: Apache-2.0
"""The interface of a fault, and the faults of processes: killed, or stopped for a while."""

import signal
from typing import Any, ClassVar

from tests.faults.training import Training
from tests.harness.cluster import Layout
from tests.harness.processes import Process, check_killed


class Fault:
    """A kind of fault. strike() causes it and heal() ends it; the training watches what happens in
    between and afterwards.

    Arguments called `training` are the Training that is disturbed (training.py): its cluster, its
    random number generator `random`, `previous` (the status before the strike), and note() for what the
    report should say.
    """

    name = ""
    what = ""  # for the table
    group = ""
    fixed: ClassVar[dict[str, Any]] = {}  # fields that a Layout must have
    hold = (0.0, 0.0)  # seconds between strike and heal, at random between the two
    sudden = True  # strike() does not wait for its effects
    limit = 20  # seconds from the heal to the first new step

    def unavailable(self) -> str:
        """Why it is not possible on this machine; empty if it is."""
        return ""

    def fits(self, layout: Layout) -> bool:
        """Whether it can strike a cluster of this layout."""
        return all(getattr(layout, name) == value for name, value in self.fixed.items())

    def prepare(self, training: Training) -> None:
        """Prepares the strike, while the training is undisturbed."""

    def strike(self, training: Training) -> bool:
        """Causes the fault. Returns false if it did not happen: then it does not count."""
        raise NotImplementedError

    def heal(self, training: Training) -> None:
        """Ends it."""

    def verify(self, training: Training) -> None:
        """Checks, after the training has gone on, what else must have happened. Throws Violation."""


def victim_of(training: Training, kind: str) -> list[Process]:
    """Returns the processes that a fault strikes: of a kind, at random."""
    cluster = training.cluster
    if kind == "worker":
        return [training.random.choice(cluster.workers)]
    if kind == "shard":
        return [training.random.choice(cluster.servers[1:])]
    if kind == "coordinator":
        return [cluster.coordinator]
    return list(cluster.processes)


class Kill(Fault):
    """SIGKILL; the harness, as the supervisor, starts it again after a while."""

    group = "processes"
    hold = (0.0, 1.0)

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = f"{kind}-kill"
        self.what = {"all": "everything at once: SIGKILL",
                     "coordinator": "the coordinator (shard 0): SIGKILL"}.get(
                         kind, f"a {kind}: SIGKILL")
        self._victims: list[Process] = []

    def strike(self, training: Training) -> bool:
        self._victims = victim_of(training, self.kind)
        for process in self._victims:
            process.down = True
            process.signal(signal.SIGKILL)
        for process in self._victims:
            check_killed(process)
        training.note(", ".join(process.name for process in self._victims))
        return True

    def heal(self, training: Training) -> None:
        training.cluster.start(order=training.random)


class Stop(Fault):
    """SIGSTOP, and SIGCONT after a while: shorter or longer than a lease."""

    group = "processes"
    hold = (0.3, 4.0)

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = f"{kind}-stop"
        self.what = {"all": "everything at once: SIGSTOP, SIGCONT",
                     "coordinator": "the coordinator: SIGSTOP, SIGCONT"}.get(
                         kind, f"a {kind}: SIGSTOP, SIGCONT")
        self._victims: list[Process] = []

    def strike(self, training: Training) -> bool:
        self._victims = victim_of(training, self.kind)
        for process in self._victims:
            process.stop()
        training.note(", ".join(process.name for process in self._victims))
        return True

    def heal(self, training: Training) -> None:
        for process in self._victims:
            process.resume()


class Point(Fault):
    """A process that kills or stops itself at a named point of the program (--fail_at), after it has
    taken part for a while."""

    group = "points"
    patience = 20  # seconds in which it must reach the point

    def __init__(self, kind: str, point: str, counts: tuple[int, int], stop: bool,
                 at_start: bool = False) -> None:
        self.kind = kind
        self.point = point
        self.hold = (0.3, 3.0) if stop else (0.0, 0.5)
        self.name = f"{point.replace('_', '-')}-{'stop' if stop else 'kill'}"
        self.what = (f"a {kind} " if kind != "coordinator" else "the coordinator ") + (
            f"at the point {point}: {'SIGSTOP, SIGCONT' if stop else 'SIGKILL'}")
        self._counts = counts
        self._stops = stop
        self._at_start = at_start  # the point is reached before any step
        self._armed: Process | None = None

    def _choose(self, training: Training) -> Process:
        kind = self.kind
        if kind == "server":
            return training.random.choice(training.cluster.servers)
        return victim_of(training, kind)[0]

    def _arm(self, training: Training) -> None:
        count = training.random.randint(*self._counts)
        if self.kind == "server" and self._victim is training.cluster.coordinator:
            count += self._at_coordinator
        suffix = ":stop" if self._stops else ""
        training.note(f"{self._victim.name} --fail_at={self.point}:{count}{suffix}")
        self._victim.kill()
        self._victim.start(f"--fail_at={self.point}:{count}{suffix}")
        self._victim.down = True  # it may end at any moment

    # The coordinator also passes the points of a durable file when it writes the generation.
    @property
    def _at_coordinator(self) -> int:
        return 1 if self.point in ("write", "sync", "rename") else 0

    def prepare(self, training: Training) -> None:
        self._armed = self._choose(training)
        if not self._at_start:
            self._arm(training)

    @property
    def _victim(self) -> Process:
        assert self._armed is not None
        return self._armed

    def _struck(self) -> bool:
        return self._victim.stopped or not self._victim.runs

    def strike(self, training: Training) -> bool:
        watch = training.watch
        if self._at_start:
            self._arm(training)
        else:
            # It must have taken part in a step.
            goal = watch.now.step + 1
            watch.wait_for(lambda status: status.step > goal or status.finished, self.patience,
                           self._struck)
            if self._struck() or watch.finished:
                return self._in_vain(training, "was reached before any step")
        watch.wait_for(lambda status: status.finished, self.patience, self._struck)
        if not self._struck() or (self._victim.exit_code == 0 and self.kind == "worker"):
            return self._in_vain(training, "was not reached")  # or the training ended first
        if not self._at_start:
            training.mark()
        if not self._stops:
            check_killed(self._victim)
        return True

    def _in_vain(self, training: Training, why: str) -> bool:
        training.note(why)
        self._victim.kill()
        return False

    def heal(self, training: Training) -> None:
        if self._victim.runs:
            self._victim.resume()
            self._victim.down = False
        else:
            self._victim.start()


def process_faults() -> list[Fault]:
    """Returns all faults of this module."""
    kinds = ("worker", "shard", "coordinator", "all")
    faults: list[Fault] = [*map(Kill, kinds), *map(Stop, kinds)]
    for stop in (False, True):
        faults += [Point(kind, point, counts, stop, at_start) for kind, point, counts, at_start in (
            ("worker", "pull", (2, 20), False),
            ("worker", "push", (2, 20), False),
            ("server", "phase", (10, 80), False),
            ("server", "reduce_norms", (4, 40), False),
            ("server", "slice_file", (1, 3), False),
            ("server", "write", (1, 8), False),
            ("server", "sync", (1, 4), False),
            ("server", "rename", (1, 4), False),
            ("coordinator", "history", (1, 3), False),
            ("coordinator", "manifest", (1, 3), False),
            ("coordinator", "complete", (1, 3), False),
            ("coordinator", "generation", (1, 1), True),
            ("server", "restore", (1, 1), True))]
    return faults
