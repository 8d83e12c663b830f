# SPDX-License-Identifier: Apache-2.0
"""A stack of deploy/swarm/make-stack, and the Swarm that it runs in."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from deploy.project import ROOT, Binaries
from tests.compose.cluster import Cluster
from tests.compose.engine import Engine
from tests.compose.project import CERTIFICATES, COMPOSE
from tests.compose.project import TESTS as COMPOSE_TESTS
from tests.harness.commands import Word, run
from tests.harness.errors import Failure, Violation

TESTS = ROOT / "tests/swarm"
STACK_LABEL = "com.docker.stack.namespace"
SERVICE_LABEL = "com.docker.swarm.service.name"
LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def swarm_of(engine: Engine) -> Iterator[str]:
    """The engine is the manager of a Swarm; unless it was before, of one node, and only meanwhile.
    Yields that node, or "" if the Swarm existed before."""
    if engine.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "active":
        yield ""
        return
    engine.docker("swarm", "init", "--advertise-addr", LOOPBACK, "--listen-addr", f"{LOOPBACK}:2377")
    try:
        yield engine.docker("node", "ls", "-q")
    finally:
        engine.tries("swarm", "leave", "--force")


class Stack(Cluster):
    """A stack with its own name and ports."""

    def __init__(self, engine: Engine, binaries: Binaries, image: str, job: pathlib.Path,
                 folder: pathlib.Path) -> None:
        super().__init__(engine, binaries)
        self.name = f"pd-swarm-{os.getpid()}"
        self.image = image
        self.certificates = folder / "certificates"
        self._file = folder / "stack.yml"
        self._folder = folder
        self._environment = {**engine.environment, "COMPOSE_PROJECT_NAME": self.name,
                             "PD_IMAGE": image, "PD_JOB": str(job), "PD_PORT_0": "0",
                             "PD_PORT_1": "0", "PD_TLS": str(self.certificates)}
        self.security = self._flags_of("operator", self.certificates)

    def make(self) -> None:
        """Makes the stack file, and the certificates."""
        files = [COMPOSE_TESTS / "short-lease.yml", TESTS / "slow-workers.yml"]
        if CERTIFICATES.exists():  # behind a proxy that signs with its own authority
            files.append(COMPOSE / "host-certificates.yml")
        words: list[Word] = [ROOT / "deploy/swarm/make-stack"]
        for file in files:
            words += ["-f", file]
        self._file.write_text(run(*words, environment=self._environment), encoding="utf-8")

    def deploy(self) -> None:
        """docker stack deploy."""
        run("docker", "stack", "deploy", "--resolve-image", "never", "--compose-file", self._file,
            self.name, environment=self._environment, log=self._folder / "deploy.log")

    def remove(self) -> None:
        """docker stack rm; waits for the containers to end. Volumes stay."""
        self.docker("stack", "rm", self.name)
        self.wait(lambda: not self.left("container"), "the stack's containers to end")
        self.wait(lambda: not self.left("network"), "the stack's network to be removed")

    def abandon(self) -> None:
        """Removes what is left, if anything, without checks."""
        if self.docker_tries("stack", "rm", self.name):
            try:
                self.wait(lambda: not self.left("container"), "the stack's containers to end", 60)
            except Violation:
                pass
        for volume in self.left("volume"):
            self.docker_tries("volume", "rm", "--force", volume)

    def left(self, kind: str) -> list[str]:
        """Returns the IDs of the stack's containers, networks, volumes, ..."""
        everything = ["--all"] if kind == "container" else []
        return self.docker(kind, "ls", "-q", *everything, "--filter",
                           f"label={STACK_LABEL}={self.name}").split()

    def service(self, name: str) -> str:
        """Returns the full name of a service."""
        return f"{self.name}_{name}"

    def containers(self, *services: str) -> list[str]:
        """Returns the IDs of the services' running containers."""
        found = []
        for service in services:
            found += self.docker("ps", "-q", "--no-trunc", "--filter",
                                 f"label={SERVICE_LABEL}={self.service(service)}").split()
        return found

    def states(self, service: str) -> list[str]:
        """Returns the states of a service's newest tasks, as "Running" and "Complete"."""
        lines = self.docker("service", "ps", self.service(service), "--format",
                            "{{.Name}}\t{{.CurrentState}}").splitlines()
        newest: dict[str, str] = {}
        for line in lines:  # the newest of each slot comes first
            name, state = line.split("\t")
            newest.setdefault(name.replace(r"\_", "").strip(), state.split()[0])
        return list(newest.values())

    def inside(self, *words: str) -> str:
        """Returns what pdctl prints in the stack's network."""
        user = f"{os.getuid()}:{os.getgid()}"
        return self.docker("run", "--rm", "--user", user, "--network", f"{self.name}_default",
                           "--volume", f"{self.certificates}:/tls:ro", self.image, "pdctl",
                           "--server=server-0:5000",
                           *self._flags_of("operator", pathlib.Path("/tls")), *words)

    def look_at_logs(self) -> str:
        """Returns the last lines of all services, for a report."""
        texts = []
        for words in (("stack", "ps", "--no-trunc", self.name),
                      *(("service", "logs", "--tail=40", self.service(service))
                        for service in ("data", "server-0", "server-1", "worker"))):
            log = self._folder / f"{words[-1]}.log"
            try:
                run("docker", *words, environment=self._environment, log=log)
            except Failure:
                pass  # there is no such service
            texts.append(log.read_text(encoding="utf-8", errors="replace"))
        return "\n".join(texts)

    @staticmethod
    def _flags_of(name: str, folder: pathlib.Path) -> list[str]:
        return [f"--tls_ca={folder}/ca.pem", f"--tls_cert={folder}/{name}.pem",
                f"--tls_key={folder}/{name}.key"]
