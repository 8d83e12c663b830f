# SPDX-License-Identifier: Apache-2.0
"""One training beside an attack, and what became of it."""

import csv
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from deploy.project import ROOT, Binaries
from tests.harness.cluster import Cluster, Layout
from tests.harness.errors import Failure, Violation
from tests.harness.processes import Process
from tests.hostile.attacks import Attack

LAYOUT = Layout(shards=2, workers=2, network="direct")
LONGEST = 60  # seconds of a training
WARM_UP = 10  # steps before the attack


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a training."""
    seconds: list[float]  # since the first lease, at the end of each step
    first: int  # the first step that began under attack
    megabytes: int  # the largest resident memory of a server
    log_bytes: int  # of server 0
    checksum: str
    answers: dict[str, int]  # of the attack: how its attempts ended
    attack_seconds: float

    def milliseconds(self, first: int) -> float:
        """Returns the mean time of a step, from this one on."""
        steps = len(self.seconds) - 1 - first
        return 1000 * (self.seconds[-1] - self.seconds[first]) / max(1, steps)

    def attempts(self) -> str:
        """Returns how often it was attempted, and how most attempts ended."""
        counted = {answer: number for answer, number in self.answers.items() if number}
        total = sum(counted.values())
        if not total:
            return ""
        usual = sorted(counted, key=lambda answer: -counted[answer])[:2]
        return f"{total} in {self.attack_seconds:.0f} s: " + ", ".join(
            f"{100 * counted[answer] / total:.0f} % {answer}" for answer in usual)


class Attacker:
    """A process that attacks a server, below the priority of the training: only what the servers do
    counts. A context, which ends it."""

    def __init__(self, attack: Attack, port: int, certificates: pathlib.Path | None) -> None:
        path = f"{ROOT}:{ROOT / 'client/python/src'}"
        words = [attack.name, str(port), str(2 * LONGEST)]
        if certificates is not None:
            words.append(str(certificates))
        self.attack = attack
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "10", sys.executable, "-B", "-m",
             "tests.hostile.attacks", *words],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True, env={**os.environ, "PYTHONPATH": path, "GRPC_VERBOSITY": "NONE"})

    def __enter__(self) -> "Attacker":
        return self

    def await_ready(self) -> None:
        """Waits until it could begin."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise Failure(f"the attack {self.attack.name} cannot begin\n{self._error()}")

    def begin(self) -> None:
        """Lets it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> tuple[dict[str, int], float]:
        """Ends it; returns how its attempts ended, and its seconds."""
        self._process.terminate()
        try:
            output = self._process.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            raise Failure(f"the attack {self.attack.name} does not end") from None
        if self._process.returncode != 0:
            raise Failure(f"the attack {self.attack.name} has failed\n{self._error()}")
        result = json.loads(output.splitlines()[-1])
        return result["answers"], result["seconds"]

    def _error(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


class Trainings:
    """Trainings of one job, on a cluster of their own each."""

    def __init__(self, binaries: Binaries, folder: pathlib.Path, steps: int,
                 certificates: pathlib.Path | None, server_flags: Sequence[str] = ()) -> None:
        self._binaries = binaries
        self._folder = folder
        self._steps = steps
        self._certificates = certificates
        self._server_flags = server_flags
        self._count = 0

    def train(self, attack: Attack | None) -> Outcome:
        """Trains, beside an attack if there is one. Throws Violation if a process ends otherwise than
        it should, or if the training does."""
        self._count += 1
        layout = dataclasses.replace(LAYOUT, tls=self._certificates is not None)
        with Cluster(self._binaries, self._folder / f"training-{self._count}", layout,
                     self._folder / "data", self._steps, give_up_seconds=LONGEST,
                     certificates=self._certificates,
                     server_flags=(f"--history={2 * self._steps}", *self._server_flags)) as cluster:
            if attack is None:
                cluster.start()
                outcome = self._outcome(cluster, *_await_end(cluster, None))
            else:
                port = int(cluster.network.listen(0).rsplit(":", 1)[1])
                with Attacker(attack, port, self._certificates) as attacker:
                    self._begin(cluster, attacker)
                    outcome = self._outcome(cluster, *_await_end(cluster, attacker))
        return outcome

    def _begin(self, cluster: Cluster, attacker: Attacker) -> None:
        """Starts the cluster when the attacker is ready."""
        attacker.await_ready()
        if attacker.attack.first:
            for server in cluster.servers:
                server.start()
            _await_servers(cluster)
            attacker.begin()
            time.sleep(1)
        cluster.start()

    def _outcome(self, cluster: Cluster, first: int, answers: dict[str, int],
                 attack_seconds: float) -> Outcome:
        checksum, _ = cluster.checksum()
        text = cluster.pdctl("progress", "--format=csv", seconds=10)
        if checksum is None or text is None:
            raise Violation("the weights or the progress cannot be read")
        seconds = [float(row["seconds"]) for row in csv.DictReader(io.StringIO(text)) if row["loss"]]
        for server in cluster.servers:
            _check_runs(server)
        memory = max(_peak_megabytes(server.pid) for server in cluster.servers)
        return Outcome(seconds, max(first, WARM_UP), memory, cluster.coordinator.log_size(), checksum,
                       answers, attack_seconds)


def _await_servers(cluster: Cluster) -> None:
    until = time.monotonic() + LONGEST
    while (status := cluster.status()) is None or status.state == "gathering":
        if time.monotonic() > until:
            raise Violation(f"the servers have not gathered\n{cluster.tails()}")
        time.sleep(0.05)


def _await_end(cluster: Cluster, attacker: Attacker | None) -> tuple[int, dict[str, int], float]:
    """Returns the first step that began under attack, and how the attack went."""
    until = time.monotonic() + LONGEST
    first: int | None = None
    if attacker is not None and attacker.attack.first:
        first = 0
    status = None
    while status is None or not status.finished:
        status = cluster.status()
        if status is not None and status.state == "failed":
            raise Violation(f"the training has failed: {status.message}")
        for process in cluster.servers:
            _check_runs(process)
        if attacker is not None and first is None and status is not None and status.step >= WARM_UP:
            attacker.begin()
            first = status.step + 1
        if time.monotonic() > until:
            step = status.step if status is not None else "an unknown step"
            raise Violation(f"not ended after {LONGEST} s, at step {step}")
        time.sleep(0.1)
    answers, seconds = attacker.end() if attacker is not None else ({}, 0.0)
    for worker in cluster.workers:
        if worker.wait(10, "the end of the training") != 0:
            raise Violation(f"{worker.name} has ended with {worker.exit_code}\n{worker.tail()}")
    return first or 0, answers, seconds


def _check_runs(process: Process) -> None:
    if not process.runs:
        raise Violation(f"{process.name} has ended with {process.exit_code}\n{process.tail()}")


def _peak_megabytes(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0
