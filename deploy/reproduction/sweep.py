# SPDX-License-Identifier: Apache-2.0
"""Runs trainings one after the other, and displays the progress of all."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from deploy.reproduction import settings
from deploy.reproduction.runs import Run, Runs

_QUIET = 30  # seconds between lines without a terminal


class Progress:
    """On a terminal one line, rewritten in place; elsewhere a line for each training and every half
    minute."""

    def __init__(self, total_steps: int, count: int, out: TextIO = sys.stdout,
                 now: Callable[[], float] = time.monotonic) -> None:
        self._total = max(1, total_steps)
        self._count = count
        self._out = out
        self._now = now
        self._terminal = out.isatty()
        self._done = 0  # steps of the finished trainings
        self._index = 0
        self._name = ""
        self._last = now()
        self._pace: float | None = None  # seconds for a step, over the steps trained by this process
        self._step_began: tuple[int, float] | None = None  # of the training in hand
        self._trained = 0
        self._seconds = 0.0

    def begin(self, name: str) -> None:
        """Begins the next training."""
        self._index += 1
        self._name = name
        self._step_began = None
        self._line(f"{self._head()}  begins", always=False)

    def step(self, step: int, accuracy: float | None) -> None:
        """Reports its progress. The first reported step may be where it was interrupted before."""
        now = self._now()
        if self._step_began is not None and step > self._step_began[0]:
            self._trained += step - self._step_began[0]
            self._seconds += now - self._step_began[1]
            self._pace = self._seconds / self._trained
        self._step_began = (step, now)
        done = self._done + step
        text = f"{self._head()}  step {step}"
        if accuracy is not None:
            text += f"  test accuracy {accuracy:.2f} %"
        self._line(f"{text}  | {100 * done / self._total:.0f} % of all{self._left(done)}", always=False)

    def end(self, steps: int, outcome: str) -> None:
        """Ends the training."""
        self._done += steps
        self._line(f"{self._head()}  {outcome}  | {100 * self._done / self._total:.0f} % of all"
                   f"{self._left(self._done)}", always=True)

    def _head(self) -> str:
        return f"{self._index}/{self._count}  {self._name}"

    def _left(self, done: int) -> str:
        if self._pace is None:
            return ""
        seconds = (self._total - done) * self._pace
        if seconds < 90:
            return f", {seconds:.0f} s left"
        if seconds < 5400:
            return f", {seconds / 60:.0f} min left"
        return f", {seconds / 3600:.1f} h left"

    def _line(self, text: str, always: bool) -> None:
        now = self._now()
        if self._terminal:
            width = shutil.get_terminal_size().columns
            self._out.write(f"\r{text[:width - 1]}\033[K" + ("\n" if always else ""))
        elif always or now - self._last >= _QUIET:
            self._out.write(text + "\n")
        else:
            return
        self._last = now
        self._out.flush()


def outcome(run: Run) -> str:
    """Returns the result of a training in a few words."""
    if run.failure():
        return "diverged"
    last = run.points()[-1]
    return f"test accuracy {100 * last.accuracy:.2f} % at step {last.step}"


def train(runs: Runs, plan: Sequence[Run], progress: Progress) -> None:
    """Trains those of the plan that are not done yet."""
    for run in plan:
        progress.begin(f"{settings.name(run.setting)}, seed {run.seed}")
        was_done = run.done()
        runs.train(run, progress.step)
        progress.end(run.steps, outcome(run) + (" (was done)" if was_done else ""))
