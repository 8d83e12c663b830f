# SPDX-License-Identifier: Apache-2.0
"""A project of deploy/compose/docker-compose.yml."""

import os
import pathlib

from deploy.project import ROOT, Binaries
from tests.compose.cluster import Cluster, certificate_flags
from tests.compose.engine import Engine
from tests.harness.commands import Word, run, succeeds

COMPOSE = ROOT / "deploy/compose"
TESTS = ROOT / "tests/compose"
CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
SERVICES = ("server-0", "server-1", "worker")
LABEL = "com.docker.compose"
PAGE_PORT = "8080/tcp"


class Project(Cluster):
    """A project with its own name, image and ports: it does not touch what else runs on the engine."""

    def __init__(self, engine: Engine, binaries: Binaries, folder: pathlib.Path) -> None:
        super().__init__(engine, binaries)
        self.name = f"pd-test-{os.getpid()}"
        self.image = f"percentdelta-test-{os.getpid()}"
        self.is_up = False
        self._folder = folder
        self._files = [COMPOSE / "docker-compose.yml", TESTS / "short-lease.yml",
                       TESTS / "slow-workers.yml"]
        if CERTIFICATES.exists():  # behind a proxy that signs with its own authority
            self._files.insert(1, COMPOSE / "host-certificates.yml")
        # The test's script needs NumPy alone: PyTorch is 300 MB.
        self._environment = {**engine.environment, "COMPOSE_PROJECT_NAME": self.name,
                             "PD_IMAGE": self.image, "PD_PORT_0": "0", "PD_PORT_1": "0",
                             "PD_PORT_PAGE": "0", "PD_PYTHON_PACKAGES": ""}

    def use_job(self, job: pathlib.Path) -> None:
        """Sets the job of the next up()."""
        self._environment["PD_JOB"] = str(job)

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

    def fetch_certificate(self, role: str) -> pathlib.Path:
        """Copies a role's certificate to the host as docs/running.md describes; pdctl on the host uses
        it from now on. Returns the folder."""
        folder = self._folder / role
        maker = self.compose("ps", "-aq", "certificates").strip()
        self._engine.docker("cp", f"{maker}:/certificates/{role}/.", folder)
        self.security = certificate_flags(folder)
        return folder

    def page(self) -> str:
        """Returns the address of the live page on the host."""
        return self.published("server-0", PAGE_PORT)

    def page_token(self) -> str:
        """Returns the live page's token, got as docs/page.md describes."""
        return self.compose("run", "--rm", "certificates", "--print-token").strip()

    def up_in_plaintext(self, job: pathlib.Path) -> None:
        """Starts all anew with plaintext.yml, and without what tests/compose adds."""
        self.compose("--profile", "python", "rm", "--stop", "--force", log="rm-python.log")
        self._files = [path for path in self._files if path.parent != TESTS]
        self._files.append(COMPOSE / "plaintext.yml")
        self._environment.update(PD_JOB=str(job))
        self.security = []
        self.up()

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

    def address(self, service: str) -> str:
        """Returns the IP address of a service's container."""
        return self.inspect(self.container(service),
                            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def running_workers(self) -> list[str]:
        """Returns the IDs of running workers."""
        return [worker for worker in self.containers("worker")
                if self.inspect(worker, "{{.State.Running}}") == "true"]

    def limit_workers(self, processors: float) -> None:
        """Limits each worker to a number of processors. Ignores workers that have ended."""
        for worker in self.containers("worker"):
            self._engine.tries("update", "--cpus", f"{processors:g}", worker)
