# SPDX-License-Identifier: Apache-2.0
"""Watches a training from outside, and checks what must hold at every moment: processes run unless they
were ended on purpose, steps and generations do not go back, and a new generation continues from the
newest checkpoint or later."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.harness.errors import Violation
from tests.harness.processes import POLL_SECONDS
from tests.harness.status import Status

STATUS_SECONDS = 0.1  # from one look at the status to the next
LOG_SECONDS = 2.0  # in which the log must have what the status has
LEAVE_SECONDS = 20.0  # in which all workers must learn that the training is finished
OPENED = re.compile(r"generation opened generation=(\d+) .*?\bstep=(\d+)")


class WatchedProcess(Protocol):
    """A process, as far as it is watched (processes.Process)."""
    name: str
    down: bool

    @property
    def runs(self) -> bool:
        """Whether there is a process."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""

    def log_since(self, offset: int = 0) -> str:
        """Its log from an offset."""

    def tail(self) -> str:
        """Its last lines."""


class Watched(Protocol):
    """A cluster, as far as it is watched (cluster.Cluster)."""

    @property
    def coordinator(self) -> WatchedProcess:
        """The server that is the coordinator."""

    @property
    def workers(self) -> Sequence[WatchedProcess]:
        """All workers."""

    @property
    def processes(self) -> Sequence[WatchedProcess]:
        """All servers and workers."""

    def status(self) -> Status | None:
        """What pdctl status says."""

    def tails(self) -> str:
        """The last lines of every process."""


class Watch:
    """Looks at a cluster. `floor` is the step of the newest checkpoint that was reported complete: no
    generation may begin below it."""

    def __init__(self, cluster: Watched) -> None:
        self.status: Status | None = None  # the last one of a training
        self.recomputed = 0  # steps that were lost and done again
        self.generations = 0
        self.floor = 0
        self.exact: int | None = None  # where the next generation must begin, if known
        self.goal: int | None = None  # reached_at is set when the step exceeds it
        self.reached_at: float | None = None
        self._answer: Status | None = None  # the last look's
        self._cluster = cluster
        self._generation = 0
        self._highest = 0  # step of the current generation
        self._left_at: float | None = None

    @property
    def now(self) -> Status:
        """The last status of a training. There must have been one."""
        assert self.status is not None
        return self.status

    @property
    def finished(self) -> bool:
        """Whether the training is."""
        return self.status is not None and self.status.finished

    def until(self, condition: Callable[[Status], bool], limit: float, what: str) -> Status:
        """Waits for a status that fulfils the condition, and returns it. Throws Violation, which says
        that `what` did not happen, after `limit` seconds."""
        status = self.wait_for(condition, limit)
        if status is None:
            raise Violation(f"waited {limit} s for {what}; pdctl status: "
                            f"{self._answer or 'no answer'}\n{self._cluster.tails()}")
        return status

    def wait_for(self, condition: Callable[[Status], bool], limit: float,
                 at_once: Callable[[], bool] | None = None) -> Status | None:
        """Waits for a status that fulfils the condition, and returns it; returns None after `limit`
        seconds. `at_once` is called more often; when it returns true, the waiting ends with None."""
        end = time.monotonic() + limit
        while True:
            looked = time.monotonic()
            self._answer = status = self.look()
            if status is not None and condition(status):
                return status
            while time.monotonic() < looked + STATUS_SECONDS:
                if at_once is not None and at_once():
                    return None
                time.sleep(POLL_SECONDS if at_once is not None else STATUS_SECONDS / 4)
            if time.monotonic() > end:
                return None

    def pass_time(self, seconds: float) -> None:
        """Watches for some seconds."""
        self.wait_for(lambda _: False, seconds)

    def look(self) -> Status | None:
        """Returns the status now; None while the coordinator does not answer or shards are gathering."""
        status = self._cluster.status()
        self._check_processes()
        if status is None or status.state == "gathering":
            return None
        if status.state == "failed":
            raise Violation(f"the training has failed: {status.message}\n{self._cluster.tails()}")
        self._take(status)
        return status

    def aim(self) -> None:
        """Begins to wait for the first step after the one in progress."""
        self.goal = self.now.step + 1
        self.reached_at = None

    def _take(self, status: Status) -> None:
        last = self.status
        if last is not None and status.generation < last.generation:
            raise Violation(f"the generation went back from {last.generation} to "
                            f"{status.generation}")
        if last is None or status.generation > last.generation:
            self._check_generation(status)
        elif status.step < self._highest:
            raise Violation(f"generation {status.generation} went back from step {self._highest} "
                            f"to {status.step}")
        self._highest = max(self._highest, status.step)
        self.floor = max(self.floor, status.checkpoint_step)
        self.status = status
        if self.goal is not None and self.reached_at is None and (
                status.step > self.goal or status.finished):
            self.reached_at = time.monotonic()

    def _check_generation(self, status: Status) -> None:
        """Also checks generations that opened and ended between two looks."""
        coordinator = self._cluster.coordinator
        end = time.monotonic() + LOG_SECONDS
        while True:
            opened = {int(g): int(step) for g, step in OPENED.findall(coordinator.log_since())}
            if status.generation in opened:
                break
            if time.monotonic() > end:
                raise Violation(f"the coordinator's log has no line about generation "
                                f"{status.generation}\n{coordinator.tail()}")
            time.sleep(POLL_SECONDS)
        for generation, step in sorted(opened.items()):
            if generation > self._generation:
                self._generation = generation
                self.generations += 1
                self._check_restored(generation, step)
                self.recomputed += max(0, self._highest - step)
                self._highest = step

    def _check_restored(self, generation: int, step: int) -> None:
        if self.exact is not None and step != self.exact:
            raise Violation(f"generation {generation}: expected to continue from the checkpoint of "
                            f"step {self.exact}, got step {step}"
                            f"\n{self._cluster.coordinator.tail()}")
        if step < self.floor:
            raise Violation(f"generation {generation}: expected to continue from step {self.floor} or "
                            f"later, whose checkpoint was complete, got step {step}"
                            f"\n{self._cluster.coordinator.tail()}")
        self.exact = None

    def _check_processes(self) -> None:
        for process in self._cluster.processes:
            if process.down or process.runs:
                continue
            if process in self._cluster.workers and process.exit_code == 0:
                process.down = True  # the training is finished
                self._left_at = self._left_at or time.monotonic()
                continue
            raise Violation(f"{process.name} has ended unexpectedly with exit code "
                            f"{process.exit_code}\n{process.tail()}")
        if self._left_at and not self.finished and (
                time.monotonic() > self._left_at + LEAVE_SECONDS):
            raise Violation("a worker has left with exit code 0, and the training is not finished"
                            f"\n{self._cluster.tails()}")
