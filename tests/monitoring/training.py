# SPDX-License-Identifier: Apache-2.0
"""A training whose servers and workers serve metrics, and shard 0 the live page."""

import contextlib
import json
import pathlib
import re
import urllib.request
from collections.abc import Callable
from typing import Any

from deploy.project import Binaries
from tests.harness.commands import run
from tests.harness.errors import Violation
from tests.harness.job import job_text
from tests.harness.ports import HOST, free_ports
from tests.harness.processes import Process
from tests.harness.waiting import wait_for

HISTOGRAM_STEPS = 20


def diverging(text: str) -> str:
    """Returns the job with plain SGD at a rate that no training survives."""
    return re.sub(r"(?ms)^optimizer \{.*?^\}", "optimizer { learning_rate: 1e30 sgd {} }", text)


class Training(contextlib.ExitStack):
    """The processes of a training, in JSON logs. A context, which ends all of them."""

    def __init__(self, binaries: Binaries, folder: pathlib.Path, data: pathlib.Path, max_steps: int,
                 checkpoints: pathlib.Path | None = None, shards: int = 2, workers: int = 2,
                 job: Callable[[str], str] = str) -> None:
        super().__init__()
        folder.mkdir(parents=True)
        self.folder = folder
        self.board = folder / "board"
        self.max_steps = max_steps
        self._binaries = binaries
        job_file = folder / "job.textproto"
        job_file.write_text(job(job_text(max_steps, checkpoints)))
        ports = free_ports(2 * shards + workers + 1)
        addresses = [f"{HOST}:{port}" for port in ports]
        self.server_metrics = addresses[shards:2 * shards]
        self.worker_metrics = addresses[2 * shards:-1]
        self.page = addresses[-1]
        self.coordinator = addresses[0]

        def process(name: str, program: pathlib.Path, metrics: str, *flags: str) -> Process:
            made = Process(name, [program, "--log_format=json", f"--metrics={metrics}",
                                  f"--coordinator={self.coordinator}", "--threads=1", *flags],
                           folder / f"{name}.log")
            self.callback(made.close)
            return made

        self.servers = [
            process(f"server-{shard}", binaries.server, self.server_metrics[shard],
                    f"--listen={addresses[shard]}", f"--shard={shard}", f"--shards={shards}",
                    f"--job={job_file}", "--lease_deadline=2s", f"--tensorboard={self.board}",
                    *([f"--http={self.page}", f"--tensorboard_histograms={HISTOGRAM_STEPS}"]
                      if shard == 0 else []))
            for shard in range(shards)]
        self.workers = [
            process(f"worker-{number}", binaries.worker, self.worker_metrics[number],
                    f"--data={data}", f"--name=worker-{number}", "--give_up_after=60s")
            for number in range(workers)]

    def start(self) -> None:
        """Starts all processes."""
        for process in [*self.servers, *self.workers]:
            process.start()

    def pdctl(self, *words: str) -> str:
        """Returns what pdctl prints."""
        return run(self._binaries.pdctl, f"--server={self.coordinator}", *words)

    def status(self) -> dict[str, Any]:
        """What `pdctl status` says; empty while the coordinator is away."""
        try:
            status: dict[str, Any] = json.loads(self.pdctl("status", "--format=json", "--deadline=1s"))
            return status
        except Exception:  # it starts or is killed just now
            return {}

    def await_step(self, step: int, limit: float = 60) -> None:
        """Waits until the training has reached the step."""
        wait_for(lambda: bool(self.status().get("step", -1) >= step), f"step {step}", limit,
                 report=self.status)

    def await_finished(self, limit: float = 60) -> None:
        """Waits until the training is finished."""
        wait_for(lambda: self.status().get("state") == "finished", "the end of the training", limit,
                 report=self.status)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Returns the log of a process. Throws Violation for a line that is not a JSON object."""
        found = []
        for line in (self.folder / f"{name}.log").read_text().splitlines():
            try:
                event = json.loads(line)
                assert isinstance(event, dict)
            except (ValueError, AssertionError):
                raise Violation(f"{name}.log: expected JSON objects only, got {line!r}") from None
            found.append(event)
        return found


def fetch(address: str, path: str) -> str:
    """Returns what a process serves at a path."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def scrape(address: str) -> str:
    """Returns what a process serves on /metrics."""
    return fetch(address, "/metrics")


def names_in(text: str) -> set[str]:
    """Returns the names of the metrics in a scrape, but those of the library that serves them."""
    return set(re.findall(r"(?m)^# TYPE (?!exposer_)(\S+) ", text))
