# SPDX-License-Identifier: Apache-2.0
"""One training, disturbed by one fault after the other, and what must hold afterwards."""

import dataclasses
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.faults.checkpoint_files import temporary_files
from tests.faults.watch import Watch
from tests.harness.cluster import Cluster
from tests.harness.errors import Violation
from tests.harness.processes import Process
from tests.harness.status import Status

if TYPE_CHECKING:
    from tests.faults.fault import Fault

FIRST_STEP_SECONDS = 60
PROGRESS_SECONDS = 60  # the longest limit of a fault
END_SECONDS = 10  # in which a process must end
STEP_SECONDS = 1  # far more than a step takes
STEPS_LEFT = 10  # that a fault needs to strike


class Over(Exception):
    """The training is too near its end for a further fault."""


@dataclasses.dataclass
class Injection:
    """A fault that has struck, and its cost."""
    fault: str
    note: str
    layout: str
    step: int  # when it struck
    held: float  # seconds until it was healed
    recovery: float  # seconds until the first step after the one in progress
    generations: int = 0  # opened because of it
    # Until the next fault was due:
    recomputed: int = 0
    useful: int = 0
    seconds: float = 0.0


class Training:
    """A cluster that trains, under watch."""

    def __init__(self, cluster: Cluster, reference: str | None, source: random.Random,
                 foreign_manifest: Callable[[], bytes] | None = None) -> None:
        self.cluster = cluster
        self.random = source
        self.watch = Watch(cluster)
        self.before: Status | None = None  # the status before the strike
        self.healed: Status | None = None  # the last one when it was healed
        self.injections: list[Injection] = []
        self.foreign_manifest = foreign_manifest  # returns a manifest of another job
        self._reference = reference
        self._notes: list[str] = []
        self._struck_at = 0.0
        self._resumed = 0  # progress is counted from this step
        self._window: tuple[Injection, float, int] | None = None

    def start(self) -> None:
        """Starts all processes, and waits for the first step."""
        self.cluster.start(order=self.random)
        self.watch.until(lambda status: status.step > 0, FIRST_STEP_SECONDS, "the first step")

    @property
    def previous(self) -> Status:
        """The status before the strike."""
        assert self.before is not None
        return self.before

    @property
    def after(self) -> Status:
        """The last status when the fault was healed."""
        assert self.healed is not None
        return self.healed

    def note(self, text: str) -> None:
        """Adds a note about the current fault to the report."""
        self._notes.append(text)

    def mark(self) -> None:
        """Marks the moment of the strike, which is now."""
        self.watch.look()
        self.before = self.watch.now
        self._struck_at = time.monotonic()
        self.watch.aim()

    def expect_restore(self, step: int) -> None:
        """Expects the next generation to begin at exactly this step."""
        self.watch.exact = self.watch.floor = step

    def await_progress(self) -> None:
        """Waits until a step is done after the last fault. Throws Over if too few are left."""
        status = self.watch.until(
            lambda status: status.finished or status.step > self._resumed + 1, PROGRESS_SECONDS,
            f"a step after step {self._resumed}, when a fault was over")
        if status.finished or status.step > status.max_steps - STEPS_LEFT:
            raise Over

    def inject(self, fault: "Fault") -> Injection | None:
        """Injects the fault while the training makes progress; returns the Injection, or None if the
        fault did not strike."""
        self.await_progress()
        self._close_window()
        self._notes = []
        fault.prepare(self)
        self.watch.pass_time(self.random.uniform(0, 0.2))
        if self.watch.finished:
            raise Over
        recomputed, generations = self.watch.recomputed, self.watch.generations
        self.mark()
        counts = fault.strike(self)
        if fault.sudden and self.watch.look() is not None:
            self.watch.aim()  # what was in flight has arrived
        self.watch.pass_time(self.random.uniform(*fault.hold) if counts else 0)
        fault.heal(self)
        held = time.monotonic() - self._struck_at
        self.healed = self.watch.status
        self.watch.until(lambda _: self.watch.reached_at is not None, fault.limit,
                         f"a step beyond {self.watch.goal} after the fault {fault.name} "
                         f"({', '.join(self._notes)})")
        if counts:
            fault.verify(self)
        self._resumed = self.watch.now.step
        if not counts:
            return None
        assert self.watch.reached_at is not None
        made = Injection(fault.name, ", ".join(self._notes), str(self.cluster.layout),
                         self.previous.step, held, self.watch.reached_at - self._struck_at,
                         self.watch.generations - generations)
        self.injections.append(made)
        self._window = (made, self._struck_at, recomputed)
        return made

    def _close_window(self) -> None:
        if self._window is not None:
            made, struck_at, recomputed = self._window
            made.recomputed = self.watch.recomputed - recomputed
            made.useful = self.watch.now.step - made.step
            made.seconds = time.monotonic() - struck_at
            self._window = None

    def finish(self) -> str:
        """Waits for the end, and checks what must hold then. Returns the weights' SHA-256."""
        last = self.cluster.max_steps
        self.watch.until(lambda status: status.finished, FIRST_STEP_SECONDS + STEP_SECONDS * last,
                         "the end of the training")
        self._close_window()
        for worker in self.cluster.workers:
            worker.down = True
            self._expect_exit(worker, "the end of the training")
        checksum, step = self.cluster.checksum()
        if checksum is None or step != last or self._reference not in (None, checksum):
            raise Violation(f"expected the weights {self._reference} of step {last}, got "
                            f"{checksum} of step {step}\n{self.cluster.tails()}")
        self.watch.until(lambda status: status.checkpoint_step == last, END_SECONDS,
                         f"the checkpoint of the last step, {last}")
        for server in self.cluster.servers:
            server.terminate()
        for server in self.cluster.servers:
            self._expect_exit(server, "SIGTERM")
        left = temporary_files(self.cluster.checkpoints)
        if left:
            raise Violation(f"temporary files were left: {left}")
        return checksum

    @staticmethod
    def _expect_exit(process: Process, what: str) -> None:
        code = process.wait(END_SECONDS, what)
        if code != 0:
            raise Violation(f"{process.name}: expected exit code 0 after {what}, got {code}"
                            f"\n{process.tail()}")
