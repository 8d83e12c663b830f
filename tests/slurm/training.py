# SPDX-License-Identifier: Apache-2.0
"""The training that the test disturbs, as its user sees it: by deploy/slurm/launch and in PD_RUN."""

import contextlib
import os
import pathlib
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from deploy.project import ROOT, Binaries
from tests.harness.commands import Word, run
from tests.harness.errors import Failure, Violation
from tests.harness.job import checkpoint_text, mnist_text
from tests.harness.status import Status
from tests.harness.waiting import wait_for
from tests.slurm.cluster import SlurmCluster

STEPS = 30
GRADIENTS = 6  # of each step: leaves time to disturb it
WAIT_SECONDS = 90

T = TypeVar("T")


class Training:
    """A run's directory, and what is asked about it."""

    def __init__(self, cluster: SlurmCluster, binaries: Binaries, data: pathlib.Path) -> None:
        self.run = cluster.folder / "run"
        self.local_job = cluster.folder / "job.textproto"  # without checkpoints
        self._cluster = cluster
        programs = self._provide_programs(binaries)
        job = cluster.folder / "job-with-checkpoints.textproto"
        self._write_jobs(job)
        self._environment: Mapping[str, str] = {
            **cluster.environment, "PD_RUN": str(self.run), "PD_JOB": str(job), "PD_SHARDS": "2",
            "PD_WORKERS": "3", "PD_WORKER_THREADS": "1", "PD_DATA": str(data), "PD_BIN": str(programs)}

    def launch(self, *words: Word, settings: Mapping[str, str] | None = None) -> str:
        """Runs deploy/slurm/launch; returns its output, stripped."""
        return run(ROOT / "deploy/slurm/launch", *words,
                   environment={**self._environment, **(settings or {})}).strip()

    @property
    def job_id(self) -> str:
        """The number of the Slurm job."""
        return (self.run / "job-id").read_text(encoding="utf-8").strip()

    @property
    def state(self) -> str:
        """What the run's directory says."""
        return (self.run / "state").read_text(encoding="utf-8").strip()

    def status(self) -> Status | None:
        """Returns what pdctl says; None if shard 0 does not answer."""
        with contextlib.suppress(Failure):
            return Status.parse(self.launch("pdctl", "--deadline=3s", "status", "--format=json"))
        return None

    def until_step(self, step: int, what: str) -> Status:
        """Waits until the training has reached a step; returns its status."""
        def reached() -> Status | None:
            status = self.status()
            return status if status is not None and status.step >= step else None

        return self.until(reached, f"step {step} {what}")

    def until(self, get: Callable[[], T | None], what: str, limit: float = WAIT_SECONDS) -> T:
        """Returns the first value that is not None or false. Throws Violation if none comes in time, or
        the training fails."""

        def got() -> T | None:
            value = get()
            if not value and self.state == "failed":
                raise Violation(f"waiting for {what}: the training has failed")
            return value

        return wait_for(got, what, limit,
                        lambda: f"the state is {self.state}, pdctl status: {self.status()}")

    def log(self, name: str) -> str:
        """Returns a file of the run's logs; "" if there is none."""
        path = self.run / "logs" / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def job_log(self) -> str:
        """Returns the log of the current job's script."""
        return self.log(f"job-{self.job_id}.log")

    def starts(self) -> int:
        """How often the job's script was started."""
        return len(re.findall(r"(?m) start \d+: \d+ servers", self.job_log()))

    def restored_step(self) -> int:
        """The step at which the newest generation began; -1 if there is none."""
        found = re.findall(r"generation opened .* step=(\d+)", self.log("shard-0.log"))
        return int(found[-1]) if found else -1

    def signal_workers(self, number: signal.Signals) -> None:
        """Sends a signal to every pd-worker of the namespace, as to keep the training from ending."""
        for process in _worker_processes():
            with contextlib.suppress(OSError):
                os.kill(int(process.name), number)

    def release_cores(self) -> None:
        """Lets the workers that run now use all cores."""
        for process in _worker_processes():
            for thread in process.glob("task/*"):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(int(thread.name), os.sched_getaffinity(0))

    def _provide_programs(self, binaries: Binaries) -> pathlib.Path:
        """Returns a folder for PD_BIN, in which all workers share one core: otherwise the training could
        end before it has been disturbed."""
        programs = self._cluster.folder / "programs"
        programs.mkdir()
        for path in (binaries.server, binaries.pdctl):
            (programs / path.name).symlink_to(path)
        worker = programs / "pd-worker"
        core = min(os.sched_getaffinity(0))
        worker.write_text(f'#!/bin/sh\nexec taskset --cpu-list {core} "{binaries.worker}" "$@"\n',
                          encoding="utf-8")
        worker.chmod(0o700)
        return programs

    def _write_jobs(self, with_checkpoints: pathlib.Path) -> None:
        text = mnist_text(max_steps=STEPS, gradients_per_step=GRADIENTS)
        self.local_job.write_text(text, encoding="utf-8")
        with_checkpoints.write_text(text + checkpoint_text(self.run / "checkpoints"), encoding="utf-8")


def _worker_processes() -> Iterator[pathlib.Path]:
    """Yields the folders in /proc of every pd-worker of the namespace."""
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.path.basename(entry.read_bytes().split(b"\0")[0]) == b"pd-worker":
                yield entry.parent
