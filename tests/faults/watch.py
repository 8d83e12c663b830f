"""Watches a training from outside, and checks what has to hold at every moment: processes run that
were not ended on purpose, steps and generations do not go back, and a new generation goes on from the
newest checkpoint or later."""

import re
import time

from tests.harness.errors import Violation
from tests.harness.processes import POLL_SECONDS

STATUS_SECONDS = 0.1  # from one look at the status to the next
LOG_SECONDS = 2  # in which a log tells what the status does
LEAVE_SECONDS = 20  # in which everybody has to learn that the training is finished
OPENED = re.compile(r"generation opened generation=(\d+) .*?\bstep=(\d+)")


class Watch:
    """Looks at a cluster. `floor` is the step of the newest checkpoint that was said to be whole: no
    generation may begin below it."""

    def __init__(self, cluster):
        self.status = None  # the last one that was of use
        self.recomputed = 0  # steps that were lost and done again
        self.generations = 0
        self.floor = 0
        self.exact = None  # where the next generation has to begin, if that is known
        self.goal = None  # reached_at is set when the step exceeds it
        self.reached_at = None
        self._cluster = cluster
        self._generation = 0
        self._highest = 0  # step of the present generation
        self._left_at = None

    @property
    def finished(self):
        """Whether the training is."""
        return self.status is not None and self.status.finished

    def until(self, condition, limit, what=None, at_once=None):
        """Waits for a status that fulfils the condition, and returns it. After `limit` seconds:
        Violation that says that `what` did not happen, or None where nothing had to. `at_once` is
        asked more often, and ends the waiting (None) when it says so."""
        end = time.monotonic() + limit
        while True:
            looked = time.monotonic()
            status = self.look()
            if status is not None and condition(status):
                return status
            while time.monotonic() < looked + STATUS_SECONDS:
                if at_once is not None and at_once():
                    return None
                time.sleep(POLL_SECONDS if at_once is not None else STATUS_SECONDS / 4)
            if time.monotonic() > end:
                if what is None:
                    return None
                raise Violation(f"waited {limit} s in vain for {what}; pdctl status: "
                                f"{status or 'no answer'}\n{self._cluster.tails()}")

    def pass_time(self, seconds):
        """Watches for so long."""
        self.until(lambda _: False, seconds)

    def look(self):
        """One look: the status, or None where nobody answers or the shards are still gathering."""
        status = self._cluster.status()
        self._check_processes()
        if status is None or status.state == "gathering":
            return None
        if status.state == "failed":
            raise Violation(f"the training has failed: {status.message}\n{self._cluster.tails()}")
        self._take(status)
        return status

    def aim(self):
        """Begins to wait for the first step beyond the one that is being done now."""
        self.goal = self.status.step + 1
        self.reached_at = None

    def _take(self, status):
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

    def _check_generation(self, status):
        """Also of generations that came and went between two looks."""
        coordinator = self._cluster.coordinator
        end = time.monotonic() + LOG_SECONDS
        while True:
            opened = {int(g): int(step) for g, step in OPENED.findall(coordinator.log_since())}
            if status.generation in opened:
                break
            if time.monotonic() > end:
                raise Violation(f"the coordinator's log does not tell of generation "
                                f"{status.generation}\n{coordinator.tail()}")
            time.sleep(POLL_SECONDS)
        for generation, step in sorted(opened.items()):
            if generation > self._generation:
                self._generation = generation
                self.generations += 1
                self._check_restored(generation, step)
                self.recomputed += max(0, self._highest - step)
                self._highest = step

    def _check_restored(self, generation, step):
        if self.exact is not None and step != self.exact:
            raise Violation(f"generation {generation}: expected to go on from the checkpoint of "
                            f"step {self.exact}, got step {step}"
                            f"\n{self._cluster.coordinator.tail()}")
        if step < self.floor:
            raise Violation(f"generation {generation}: expected to go on from step {self.floor} or "
                            f"later, whose checkpoint was whole, got step {step}"
                            f"\n{self._cluster.coordinator.tail()}")
        self.exact = None

    def _check_processes(self):
        for process in self._cluster.processes:
            if process.down or process.runs:
                continue
            if process in self._cluster.workers and process.exit_code == 0:
                process.down = True  # it has been told that the training is finished
                self._left_at = self._left_at or time.monotonic()
                continue
            raise Violation(f"{process.name} has ended by itself with exit code "
                            f"{process.exit_code}\n{process.tail()}")
        if self._left_at and not self.finished and (
                time.monotonic() > self._left_at + LEAVE_SECONDS):
            raise Violation("a worker has left with exit code 0, and the training is not finished"
                            f"\n{self._cluster.tails()}")
