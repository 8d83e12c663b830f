# SPDX-License-Identifier: Apache-2.0
"""The containers of a cluster, and the status of its training."""

import abc
import os
import pathlib
import subprocess

from deploy.project import Binaries
from tests.compose.engine import Engine
from tests.harness.commands import run
from tests.harness.errors import Failure, Violation
from tests.harness.status import Status
from tests.harness.waiting import WatchedTraining

PORT = "5000/tcp"


def certificate_flags(folder: pathlib.Path | str) -> list[str]:
    """The flags of a process whose certificate is in this folder of a container, or a copy of it."""
    return [f"--tls_ca={folder}/ca.pem", f"--tls_cert={folder}/cert.pem",
            f"--tls_key={folder}/key.pem"]


class Cluster(WatchedTraining):
    """What containers of Compose and of Swarm have in common."""

    def __init__(self, engine: Engine, binaries: Binaries) -> None:
        self.binaries = binaries  # the host's
        self.security: list[str] = []  # flags of pdctl on the host
        self._engine = engine

    @abc.abstractmethod
    def containers(self, *services: str) -> list[str]:
        """Returns the IDs of the services' containers, including stopped ones, in the order of names."""

    # ---- containers ------------------------------------------------------------------------------

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

    def published(self, service: str, port: str = PORT) -> str:
        """Returns the address of a server's port on the host. The engine chose the port."""
        text = self._engine.docker("port", self.container(service), port)
        if not text:
            raise Failure(f"{service} does not publish its port {port}")
        return text.splitlines()[0].replace("0.0.0.0:", "127.0.0.1:")

    def log_of(self, *services: str) -> str:
        """Returns the output of the services' containers."""
        return "\n".join(self.log_of_container(each) for each in self.containers(*services))

    def log_of_container(self, container: str) -> str:
        """Returns the output of a container."""
        result = subprocess.run(["docker", "logs", container], check=False, text=True,
                                errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={**os.environ, **self._engine.environment})
        return result.stdout

    def docker(self, *words: str | pathlib.Path) -> str:
        """Runs docker; returns its standard output."""
        return self._engine.docker(*words)

    def docker_tries(self, *words: str | pathlib.Path) -> bool:
        """Whether a docker command succeeds."""
        return self._engine.tries(*words)

    # ---- the training ----------------------------------------------------------------------------

    def outside(self, *words: str) -> str:
        """Returns what pdctl prints on the host."""
        return run(self.binaries.pdctl, f"--server={self.published('server-0')}", *self.security,
                   *words)

    def look(self) -> Status | None:
        """Returns the status; None if the coordinator does not answer."""
        try:
            return Status.parse(self.outside("--deadline=3s", "status", "--format=json"))
        except (Failure, Violation):
            return None
