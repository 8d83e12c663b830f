"""Real clusters of processes on this machine: what the model is measured by and checked against."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from deploy.project import JOBS, RELEASE, Binaries
from tests.harness.errors import Failure

BINARIES = Binaries(RELEASE)
PATIENCE_SECONDS = 300
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def job_text(gradients_per_step=1, max_steps=1 << 30):
    """The built-in job without evaluation."""
    text = (JOBS / "mnist.textproto").read_text()
    text = re.sub(r"(?m)^gradients_per_step:.*", f"gradients_per_step: {gradients_per_step}", text)
    text = re.sub(r"(?m)^max_steps:.*", f"max_steps: {max_steps}", text)
    return re.sub(r"(?m)^evaluation .*", "", text)


def tiny_job_text(gradients_per_step=1, max_steps=1 << 30):
    """A job whose model is a single number: calls alone, no bytes."""
    text = job_text(gradients_per_step, max_steps)
    model = """model {
      architecture: "none"
      tensors { name: "a/b" shape: [1] initializer { constant { value: 1 } } }
    }
    """
    return re.sub(r"(?ms)^model \{.*?^\}\n", model, text)


class Cluster:
    """Servers as processes of their own over loopback, and workers that are added. A context."""

    def __init__(self, job, shards=1, threads=0):
        self._folder = tempfile.TemporaryDirectory()
        self._processes = []
        self._logs = []
        self._closed = False
        path = pathlib.Path(self._folder.name) / "job.textproto"
        path.write_text(job)
        self.servers = []
        self.coordinator = ""
        for shard in range(shards):
            command = [BINARIES.server, "--listen=127.0.0.1:0", f"--shards={shards}",
                       f"--shard={shard}", f"--job={path}", f"--threads={threads}"]
            if shard > 0:
                command.append(f"--coordinator={self.coordinator}")
            self.servers.append(self.start(command))
            if shard == 0:
                self.coordinator = self._address(self._logs[-1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self._logs:
            log.close()
        self._folder.cleanup()

    def start(self, command):
        """Starts a program that ends with the cluster, at the latest."""
        log = open(pathlib.Path(self._folder.name) / f"log-{len(self._logs)}", "w+b")
        self._logs.append(log)
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def start_worker(self, threads, data):
        """A real worker."""
        return self.start([BINARIES.worker, f"--coordinator={self.coordinator}",
                           "--shared_memory=false",  # the model is of machines with a network between
                           f"--data={data}", f"--threads={threads}"])

    def start_null_worker(self):
        """A worker whose gradients cost nothing."""
        return self.start([BINARIES.benchmark("null_worker"), "--work=train",
                           f"--coordinator={self.coordinator}"])

    def do(self, work, count=1, workers=1):
        """Has null workers do the work at the same time: the JSON of each."""
        command = [BINARIES.benchmark("null_worker"), f"--coordinator={self.coordinator}",
                   f"--work={work}", f"--count={count}"]
        processes = [subprocess.Popen(command + [f"--slot={count * worker}"], text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                     for worker in range(workers)]
        outputs = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
        for process, (_, error) in zip(processes, outputs):
            if process.returncode != 0:
                raise Failure(f"null_worker --work={work}: {error.strip()}")
        return [json.loads(output) for output, _ in outputs]

    def cpu_seconds(self):
        """Processor time of all servers so far."""
        total = 0
        for server in self.servers:
            fields = pathlib.Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])  # user, system
        return total / TICKS_PER_SECOND

    def point(self):
        """The newest finished step and the seconds since the training began: (step, seconds)."""
        result = subprocess.run(
            [BINARIES.pdctl, f"--server={self.coordinator}", "status", "--format=json"],
            check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        if result.returncode != 0:
            return None
        point = json.loads(result.stdout)["last_training"]
        return point and (point["step"], point["seconds"])

    def seconds_per_step(self, workers, warm_up):
        """Waits for the workers, which train to the end: the mean after `warm_up` steps."""
        begin = None
        while begin is None or begin[0] < warm_up:
            time.sleep(0.1)
            begin = self.point()
            self._check(workers)
        for worker in workers:
            worker.wait(timeout=PATIENCE_SECONDS)
        self._check(workers)
        end = self.point()
        if end[0] <= begin[0]:
            raise Failure("the training was over before it could be measured: more steps")
        return (end[1] - begin[1]) / (end[0] - begin[0])

    def _check(self, workers):
        for worker in workers:
            if worker.poll():
                log = self._logs[self._processes.index(worker)]
                log.seek(0)
                raise Failure(f"a worker failed: {log.read().decode().strip()[-500:]}")

    @staticmethod
    def _address(log):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            log.seek(0)
            found = re.search(rb"listening address=(\S+)", log.read())
            log.seek(0, os.SEEK_END)
            if found:
                return found.group(1).decode()
            time.sleep(0.01)
        raise Failure("the first server does not listen")
