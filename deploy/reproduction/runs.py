# SPDX-License-Identifier: Apache-2.0
"""Trainings, each in its own folder: run once, and resumed after an interruption.

    <folder>/job.textproto    what is trained
    <folder>/checkpoints/     for resuming, also to more steps than before
    <folder>/report/          of pd-local: progress.csv and statistics.csv, which the figures show
    <folder>/failed.txt       the error, if the training diverged
"""

import csv
import pathlib
import re
import shutil
import subprocess
import typing
from collections.abc import Callable

from deploy.project import Failure
from deploy.reproduction import settings
from deploy.reproduction.jobs import Jobs

CHECKPOINTS = 20  # of a training: an interruption costs at most a twentieth of it
# In the errors of workers and servers about a loss or gradient that is not finite. Any other failure is
# not a result.
_DIVERGED = ("diverges", "expected finite values")
_STEP = re.compile(r"^step (\d+)/\d+(?:.*test accuracy ([0-9.]+) %)?")


Row = typing.TypeVar("Row")


class Point(typing.NamedTuple):
    """An evaluation of the test set."""
    step: int
    loss: float
    accuracy: float


class Change(typing.NamedTuple):
    """||delta||_1 / ||W||_1 of a tensor at a step."""
    step: int
    tensor: str
    relative: float


class Run(typing.NamedTuple):
    """The training of a setting with a seed, up to a step."""
    folder: pathlib.Path
    setting: settings.Setting
    seed: int
    text: str  # of the job
    steps: int
    every: int

    def failure(self) -> str | None:
        """Returns why it diverged; None if it has not."""
        path = self.folder / "failed.txt"
        return path.read_text(encoding="utf-8").strip() if path.exists() else None

    def points(self) -> list[Point]:
        """Returns the known points of the test curve, up to this run's last step."""
        every = self._read("progress.csv", lambda row: None if row["test_accuracy"] == "" else Point(
            int(row["step"]), float(row["test_loss"]), float(row["test_accuracy"])))
        return [point for point in every if point and point.step <= self.steps
                and (point.step % self.every == 0 or point.step == self.steps)]

    def done(self) -> bool:
        """Whether it is finished, or has diverged."""
        points = self.points()
        return self.failure() is not None or (bool(points) and points[-1].step >= self.steps)

    def changes(self) -> list[Change]:
        """Returns the change of each tensor at each step."""
        return self._read("statistics.csv", lambda row: Change(
            int(row["step"]), row["tensor"], float(row["relative_delta"])))

    def _read(self, name: str, convert: Callable[[dict[str, str]], Row]) -> list[Row]:
        """Returns the converted rows of a file of the report; none if it does not exist."""
        path = self.folder / "report" / name
        if not path.exists():
            return []
        try:
            with open(path, encoding="utf-8", newline="") as file:
                return [convert(row) for row in csv.DictReader(file, strict=True)]
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise Failure(f"{path} is damaged ({type(error).__name__}: {error}); remove "
                          f"{self.folder} to do this training again") from error


class Runs:
    """The trainings of one data set, below one folder."""

    def __init__(self, folder: pathlib.Path, data_set: settings.DataSet, data: pathlib.Path,
                 maker: Jobs, threads: int, local: pathlib.Path) -> None:
        self._folder = folder
        self._data_set = data_set
        self._data = data
        self._jobs = maker
        self._threads = threads
        self._local = local

    def run(self, setting: settings.Setting, seed: int, steps: int, every: int) -> Run:
        """Returns a training's description. Trains nothing."""
        text = self._jobs.text(self._data_set.job, setting, seed, steps, every)
        words = f"{setting.algorithm} {setting.label} seed {seed} every {every}"
        name = re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")
        return Run(self._folder / name, setting, seed, text, steps, every)

    def train(self, run: Run, progress: Callable[[int, float | None], None]) -> None:
        """Trains it unless it is done. Calls progress(step, test accuracy in % or None)."""
        if run.done():
            return
        run.folder.mkdir(parents=True, exist_ok=True)
        job = run.folder / "job.textproto"
        text = self._jobs.with_checkpoints(run.text, run.folder / "checkpoints",
                                           max(50, run.steps // CHECKPOINTS))
        job.write_text(text, encoding="utf-8")
        command = [str(self._local), f"--job={job}", f"--data={self._data}",
                   f"--report={run.folder / 'report'}", f"--threads={self._threads}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            try:
                assert process.stdout is not None and process.stderr is not None
                for line in process.stdout:
                    match = _STEP.match(line)
                    if match:
                        progress(int(match[1]), float(match[2]) if match[2] else None)
                errors = process.stderr.read()
                code = process.wait()
            finally:
                process.terminate()  # after an interrupt; checkpoints remain
        if code == 0:
            return
        if not any(words in errors for words in _DIVERGED):
            raise Failure(f"{' '.join(command)}\nfailed with exit code {code}:\n{errors.strip()}")
        (run.folder / "failed.txt").write_text(errors.strip().splitlines()[-1] + "\n",
                                               encoding="utf-8")
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
