# SPDX-License-Identifier: Apache-2.0
"""A project of deploy/compose/docker-compose.yml: its containers, and the status of its training."""

import os
import pathlib
import subprocess
import time
from collections.abc import Callable

from deploy.project import ROOT, Binaries
from tests.compose.engine import Engine
from tests.harness.commands import Word, run, succeeds
from tests.harness.errors import Failure, Violation
from tests.harness.status import Status

COMPOSE = ROOT / "deploy/compose"
TESTS = ROOT / "tests/compose"
CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
PORT = "5000/tcp"
SERVICES = ("server-0", "server-1", "worker")
PATIENCE_SECONDS = 240  # what takes 20 s on an idle machine may take minutes on a busy one
POLL_SECONDS = 0.2
LABEL = "com.docker.compose"


class Project:
    """A project with its own name, image and ports: it does not touch what else runs on the engine."""

    def __init__(self, engine: Engine, folder: pathlib.Path) -> None:
        self.name = f"pd-test-{os.getpid()}"
        self.image = f"percentdelta-test-{os.getpid()}"
        self.job = folder / "job.textproto"
        self.is_up = False
        self.binaries: Binaries | None = None  # the host's
        self._engine = engine
        self._folder = folder
        self._files = [COMPOSE / "docker-compose.yml", TESTS / "short-lease.yml",
                       TESTS / "slow-workers.yml"]
        if CERTIFICATES.exists():  # behind a proxy that signs with its own authority
            self._files.insert(1, COMPOSE / "host-certificates.yml")
        # The test's script needs NumPy alone: PyTorch is 300 MB.
        self._environment = {**engine.environment, "COMPOSE_PROJECT_NAME": self.name,
                             "PD_IMAGE": self.image, "PD_JOB": str(self.job), "PD_PORT_0": "0",
                             "PD_PORT_1": "0", "PD_PYTHON_PACKAGES": ""}

    def add_file(self, path: pathlib.Path) -> None:
        """Adds a Compose file."""
        self._files.append(path)

    # ---- Compose ---------------------------------------------------------------------------------

    def compose(self, *words: Word, log: str | None = None) -> str:
        """Runs docker-compose with the project's files; returns its standard output, or writes all
        output to the file `log` of the folder."""
        return run(*self._compose_words(), *words, environment=self._environment,
                   log=self._folder / log if log else None)

    def up(self, *words: Word) -> None:
        """docker-compose up --detach."""
        self.is_up = True
        self.compose("up", "-d", *words, log="up.log")

    def up_python(self, job: pathlib.Path, script: str) -> None:
        """Starts servers and Python workers, with a job and a script of this folder."""
        self._environment.update(PD_JOB=str(job), PD_FILES=str(TESTS), PD_WORKER_SCRIPT=script)
        self.compose("--profile", "python", "up", "-d", "server-0", "server-1", "worker-python",
                     log="up-python.log")

    def down(self, seconds: int) -> None:
        """Removes containers, networks and volumes."""
        self.compose("--profile", "tools", "--profile", "python", "down", "--volumes", "--timeout",
                     str(seconds), log="down.log")
        self.is_up = False

    def abandon(self) -> None:
        """Removes what is left, if anything, without checks."""
        if self.is_up:
            succeeds(*self._compose_words(), "--profile", "tools", "--profile", "python", "down",
                     "--volumes", "--timeout", "1", environment=self._environment)

    def inside(self, *words: Word) -> str:
        """Returns what pdctl prints in the project's network."""
        return self.compose("run", "--rm", "pdctl", *words)

    def _compose_words(self) -> list[Word]:
        words: list[Word] = [*self._engine.compose]
        for path in self._files:
            words += ["-f", path]
        return words

    # ---- containers ------------------------------------------------------------------------------

    def containers(self, *services: str) -> list[str]:
        """Returns the IDs of the services' containers, including stopped ones, in the order of names."""
        found = []
        for service in services:
            text = self._engine.docker(
                "ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}",
                "--filter", f"label={LABEL}.project={self.name}",
                "--filter", f"label={LABEL}.service={service}",
                "--filter", f"label={LABEL}.oneoff=False")
            found += [line.split()[1] for line in sorted(text.splitlines())]
        return found

    def container(self, service: str) -> str:
        """Returns the ID of the only container of a service."""
        found = self.containers(service)
        if len(found) != 1:
            raise Violation(f"expected one container of {service}, got {len(found)}")
        return found[0]

    def inspect(self, container: str, template: str) -> str:
        """Returns a property of a container."""
        return self._engine.docker("inspect", "-f", template, container)

    def name_of(self, container: str) -> str:
        """Returns a container's name."""
        return self.inspect(container, "{{.Name}}").lstrip("/")

    def exit_code(self, container: str) -> int:
        """Returns the exit code of a container that has ended."""
        return int(self.inspect(container, "{{.State.ExitCode}}"))

    def address(self, service: str) -> str:
        """Returns the IP address of a service's container."""
        return self.inspect(self.container(service),
                            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def published(self, service: str) -> str:
        """Returns the address of a server on the host. The engine chose the port."""
        text = self._engine.docker("port", self.container(service), PORT)
        if not text:
            raise Failure(f"{service} has no published port")
        return text.splitlines()[0]

    def running_workers(self) -> list[str]:
        """Returns the IDs of running workers."""
        return [worker for worker in self.containers("worker")
                if self.inspect(worker, "{{.State.Running}}") == "true"]

    def limit_workers(self, processors: float) -> None:
        """Limits each worker to a number of processors. Ignores workers that have ended."""
        for worker in self.containers("worker"):
            self._engine.tries("update", "--cpus", f"{processors:g}", worker)

    def log_of(self, *services: str) -> str:
        """Returns the output of the services' containers."""
        return "\n".join(self.log_of_container(each) for each in self.containers(*services))

    def log_of_container(self, container: str) -> str:
        """Returns the output of a container."""
        result = subprocess.run(["docker", "logs", container], check=False, text=True,
                                errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={**os.environ, **self._engine.environment})
        return result.stdout

    def docker(self, *words: Word) -> str:
        """Runs docker; returns its standard output."""
        return self._engine.docker(*words)

    def docker_tries(self, *words: Word) -> bool:
        """Whether a docker command succeeds."""
        return self._engine.tries(*words)

    # ---- the training ----------------------------------------------------------------------------

    def outside(self, *words: Word) -> str:
        """Returns what pdctl prints on the host."""
        assert self.binaries is not None
        return run(self.binaries.pdctl, f"--server={self.published('server-0')}", *words)

    def look(self) -> Status | None:
        """Returns the status; None if the coordinator does not answer."""
        try:
            return Status.parse(self.outside("--deadline=3s", "status", "--format=json"))
        except Failure:
            return None

    def status(self) -> Status:
        """Returns the status as soon as the coordinator answers."""
        return self.until(lambda status: True, "an answer to pdctl status")

    def until(self, condition: Callable[[Status], bool], what: str,
              limit: float = PATIENCE_SECONDS) -> Status:
        """Waits for a status that fulfils the condition, and returns it. Throws Violation after `limit`
        seconds."""
        end = time.monotonic() + limit
        while True:
            status = self.look()
            if status is not None and condition(status):
                return status
            if time.monotonic() > end:
                raise Violation(f"waited {limit:g} s for {what}; pdctl status: "
                                f"{status or 'no answer'}")
            time.sleep(POLL_SECONDS)

    @staticmethod
    def wait(condition: Callable[[], bool], what: str, limit: float = PATIENCE_SECONDS) -> None:
        """Waits until the condition holds. Throws Violation after `limit` seconds."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                raise Violation(f"waited {limit:g} s for {what}")
            time.sleep(POLL_SECONDS)
