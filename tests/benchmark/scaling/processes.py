# SPDX-License-Identifier: Apache-2.0
"""Real clusters of processes on this machine, to measure the model's costs and to check the model."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from deploy.project import Binaries, JOBS, RELEASE
from tests.harness.errors import Failure, Violation
from tests.harness.processes import Process

BINARIES = Binaries(RELEASE)
PATIENCE_SECONDS = 300
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def job_text(gradients_per_step: int = 1, max_steps: int = 1 << 30) -> str:
    """Returns the built-in job without evaluation."""
    text = (JOBS / "mnist.textproto").read_text()
    text = re.sub(r"(?m)^gradients_per_step:.*", f"gradients_per_step: {gradients_per_step}", text)
    text = re.sub(r"(?m)^max_steps:.*", f"max_steps: {max_steps}", text)
    return re.sub(r"(?m)^evaluation .*", "", text)


def tiny_job_text(gradients_per_step: int = 1, max_steps: int = 1 << 30) -> str:
    """Returns a job whose model is a single number: calls without payload."""
    text = job_text(gradients_per_step, max_steps)
    model = """model {
      architecture: "none"
      tensors { name: "a/b" shape: [1] initializer { constant { value: 1 } } }
    }
    """
    return re.sub(r"(?ms)^model \{.*?^\}\n", model, text)


class Cluster:
    """Servers as processes of their own over loopback, and workers that are added. A context."""

    def __init__(self, job: str, shards: int = 1, threads: int = 0) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._processes: list[Process] = []
        path = pathlib.Path(self._folder.name) / "job.textproto"
        path.write_text(job)
        self.servers: list[Process] = []
        self.coordinator = ""
        for shard in range(shards):
            command: list[str | pathlib.Path] = [
                BINARIES.server, "--listen=127.0.0.1:0", f"--shards={shards}",
                f"--shard={shard}", f"--job={path}", f"--threads={threads}"]
            if shard > 0:
                command.append(f"--coordinator={self.coordinator}")
            self.servers.append(self.start(command))
            if shard == 0:
                self.coordinator = self._address(self.servers[0])

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20, "SIGTERM")
            except Violation:
                process.kill()
        self._folder.cleanup()

    def start(self, command: Sequence[str | pathlib.Path]) -> Process:
        """Starts a program, which the end of the cluster ends."""
        name = f"{pathlib.Path(command[0]).name}-{len(self._processes)}"
        process = Process(name, command, pathlib.Path(self._folder.name) / f"{name}.log")
        self._processes.append(process)
        process.start()
        return process

    def start_worker(self, threads: int, data: pathlib.Path) -> Process:
        """Starts a real worker."""
        return self.start([BINARIES.worker, f"--coordinator={self.coordinator}",
                           "--shared_memory=false",  # the model is of machines with a network between
                           f"--data={data}", f"--threads={threads}"])

    def start_null_worker(self) -> Process:
        """Starts a worker whose gradients cost nothing."""
        return self.start([BINARIES.benchmark("null_worker"), "--work=train",
                           f"--coordinator={self.coordinator}"])

    def do(self, work: str, count: int = 1, workers: int = 1) -> list[dict[str, Any]]:
        """Runs null workers at the same time; returns the JSON of each."""
        command: list[str | pathlib.Path] = [
            BINARIES.benchmark("null_worker"), f"--coordinator={self.coordinator}",
            f"--work={work}", f"--count={count}"]
        processes = [subprocess.Popen(command + [f"--slot={count * worker}"], text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                     for worker in range(workers)]
        outputs = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
        for process, (_, error) in zip(processes, outputs):
            if process.returncode != 0:
                raise Failure(f"null_worker --work={work}: {error.strip()}")
        return [json.loads(output) for output, _ in outputs]

    def cpu_seconds(self) -> float:
        """Returns the processor time of all servers so far."""
        total = 0
        for server in self.servers:
            fields = pathlib.Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])  # user, system
        return total / TICKS_PER_SECOND

    def point(self) -> tuple[int, float] | None:
        """Returns (newest finished step, seconds since the training began)."""
        result = subprocess.run(
            [BINARIES.pdctl, f"--server={self.coordinator}", "status", "--format=json"],
            check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        if result.returncode != 0:
            return None
        point = json.loads(result.stdout)["last_training"]
        return (point["step"], point["seconds"]) if point else None

    def seconds_per_step(self, workers: Sequence[Process], warm_up: int) -> float:
        """Waits for the workers to finish the training; returns the mean after `warm_up` steps."""
        begin = None
        while begin is None or begin[0] < warm_up:
            time.sleep(0.1)
            begin = self.point()
            self._check(workers)
        for worker in workers:
            worker.wait(PATIENCE_SECONDS, "the end of the training")
        self._check(workers)
        end = self.point()
        if end is None or end[0] <= begin[0]:
            raise Failure("the training was over before it could be measured: more steps")
        return (end[1] - begin[1]) / (end[0] - begin[0])

    @staticmethod
    def _check(workers: Sequence[Process]) -> None:
        for worker in workers:
            if worker.exit_code:
                raise Failure(f"{worker.name} failed with exit code {worker.exit_code}:\n"
                              f"{worker.tail()}")

    @staticmethod
    def _address(server: Process) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = re.search(r"listening address=(\S+)", server.log_since())
            if found:
                return found.group(1)
            time.sleep(0.01)
        raise Failure(f"the first server has not listened within 20 s\n{server.tail()}")
