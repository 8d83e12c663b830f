# SPDX-License-Identifier: Apache-2.0
"""What is compared: groups of processes that compute steps on demand, and rest otherwise."""

import contextlib
import json
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from deploy.project import Binaries, Failure, RELEASE, ROOT

sys.path.insert(0, str(ROOT / "client/python/src"))

import percentdelta as pd  # noqa: E402  (the path comes first)

HERE = pathlib.Path(__file__).resolve().parent
BATCH = 500
PATIENCE_SECONDS = 300
Word = str | pathlib.Path


class Group(contextlib.ExitStack):
    """Some processes, which end with it. A context; they are stopped except during run().

    name     of the table
    examples of a step, of all processes together
    """

    def __init__(self, name: str, examples: int, folder: pathlib.Path) -> None:
        super().__init__()
        self.name = name
        self.examples = examples
        self._folder = folder
        self._processes: list[subprocess.Popen[str]] = []

    def run(self, steps: int) -> float:
        """Computes steps; returns the milliseconds of one."""
        raise NotImplementedError

    def start(self, *command: Word, **settings: str) -> subprocess.Popen[str]:
        """Starts a process, with pipes to standard input and output. It dies with this one."""
        log = self._folder / f"{self.name.replace(' ', '-')}-{len(self._processes)}.log"
        process = subprocess.Popen(
            ["env", *(f"{name}={value}" for name, value in settings.items()),
             "setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"), text=True)
        self._processes.append(process)
        self.callback(process.wait)
        self.callback(process.kill)
        return process

    def rest(self) -> None:
        """Stops the processes: threads of OpenMP would spin on the cores of the next measurement."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continues them."""
        self._signal(signal.SIGCONT)

    def answer(self, process: subprocess.Popen[str]) -> str:
        """Returns the next line of a process. Throws Failure if it has ended."""
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise self.failure(process)
        return line

    def failure(self, process: subprocess.Popen[str]) -> Failure:
        """What to throw for a process that has ended."""
        logs = sorted(self._folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
        return Failure(f"{self.name}: {process.args!r} ended with exit code {process.wait()}\n"
                       f"{logs[-1].read_text(errors='replace')[-2000:]}")

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)


class Commanded(Group):
    """Programs whose first one reads the number of steps on standard input and answers with the time.
    `share`: steps of the program in a step of the group."""

    def __init__(self, name: str, examples: int, folder: pathlib.Path,
                 commands: Sequence[Sequence[Word]], share: int = 1, stops: bool = True) -> None:
        super().__init__(name, examples, folder)
        self._share = share
        self._stops = stops
        self._first = [self.start(*command) for command in commands][0]
        self.answer(self._first)
        self._rest()

    def run(self, steps: int) -> float:
        self.resume()
        assert self._first.stdin is not None
        self._first.stdin.write(f"{steps * self._share}\n")
        self._first.stdin.flush()
        milliseconds = self._share * float(self.answer(self._first))
        self._rest()
        return milliseconds

    def _rest(self) -> None:
        if self._stops:
            self.rest()


class Trained(Group):
    """A training of this project: servers, which never rest, and workers. The time of a step is that
    between the ends of two, as a watcher sees them."""

    def __init__(self, name: str, folder: pathlib.Path, workers: Sequence[Sequence[Word]], *,
                 job: str, threads: int) -> None:
        super().__init__(name, BATCH * len(workers), folder)
        self._cluster = self.enter_context(
            pd.LocalCluster(pd.Job.from_text(job), server=Binaries(RELEASE).server, threads=threads))
        client = self.enter_context(self._cluster.client())
        self._ends: queue.SimpleQueue[float] = queue.SimpleQueue()

        def watch() -> None:
            with contextlib.suppress(pd.Error):  # the end of the cluster
                for _ in client.watch():
                    self._ends.put(time.monotonic())

        threading.Thread(target=watch, daemon=True).start()
        for command in workers:
            self.start(*(str(word).replace("ADDRESS", self._cluster.address) for word in command))
        self.run(1)

    def run(self, steps: int) -> float:
        with contextlib.suppress(queue.Empty):
            while True:
                self._ends.get_nowait()
        self.resume()
        # In the first step leases are overdue and threads asleep.
        ends = [self._next_end() for _ in range(steps + 2)][1:]
        self.rest()
        return 1e3 * (ends[-1] - ends[0]) / steps

    def _next_end(self) -> float:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(queue.Empty):
                return self._ends.get(timeout=1)
            for process in self._processes:
                if process.poll() is not None:
                    raise self.failure(process)
        raise Failure(f"{self.name}: no step has ended within {PATIENCE_SECONDS} s")


def bare(folder: pathlib.Path, python: Word, threads: int) -> Group:
    """PyTorch's loss and gradient."""
    return Commanded(f"bare PyTorch, {threads} threads", BATCH, folder,
                     [[python, "-B", HERE / "bare.py", str(threads)]])


def job_of(folder: pathlib.Path, python: Word, slots: int) -> str:
    """Returns the job of the PyTorch workers, as text, whose initial weights are in `folder`."""
    result = subprocess.run([str(python), "-B", HERE / "worker.py", "--job", str(slots),
                             folder / f"initial-{slots}.safetensors"],
                            check=False, text=True, capture_output=True)
    if result.returncode != 0:
        raise Failure(f"worker.py --job: {result.stderr.strip()}")
    return result.stdout


def torch_workers(folder: pathlib.Path, python: Word, workers: int, threads: int, transport: str
                  ) -> Group:
    """This project with workers in PyTorch."""
    command: list[Word] = [python, "-B", HERE / "worker.py", "ADDRESS", str(threads), transport]
    return Trained(f"PyTorch worker x {workers}, {threads} threads, {transport}", folder,
                   [command] * workers, job=job_of(folder, python, workers), threads=threads)


def cpp_workers(folder: pathlib.Path, workers: int, job: str, data: pathlib.Path) -> Group:
    """This project with workers in C++, of one thread."""
    command: list[Word] = [Binaries(RELEASE).worker, "--coordinator=ADDRESS", f"--data={data}",
                           "--threads=1"]
    return Trained(f"C++ worker x {workers}", folder, [command] * workers, job=job, threads=1)


def distributed_data_parallel(folder: pathlib.Path, python: Word, processes: int) -> Group:
    """PyTorch's own, with gloo."""
    meeting = folder / "ddp"
    meeting.unlink(missing_ok=True)
    program = str(HERE / "ddp.py")
    commands = [[str(python), "-B", program, str(rank), str(processes), str(meeting)]
                for rank in range(processes)]
    return Commanded("DistributedDataParallel, gloo", BATCH * processes, folder, commands)


def tensorflow(folder: pathlib.Path, python: pathlib.Path, workers: int) -> Group:
    """TensorFlow's parameter server, on an interpreter that has it. It is not stopped: its processes
    would lose each other."""
    roles = [("chief", 0), ("ps", 0), *(("worker", index) for index in range(workers))]
    cluster: dict[str, list[str]] = {}
    with contextlib.ExitStack() as stack:  # all at once, so that they are different ones
        for role, _ in roles:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            cluster.setdefault(role, []).append(f"127.0.0.1:{probe.getsockname()[1]}")
    program = str(HERE / "tensorflow_ps.py")
    commands = [[str(python), "-B", program, role, str(index), json.dumps(cluster)]
                for role, index in roles]
    return Commanded("TensorFlow ParameterServerStrategy", BATCH * workers, folder, commands,
                     share=workers, stops=False)
