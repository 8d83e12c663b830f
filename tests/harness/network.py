# SPDX-License-Identifier: Apache-2.0
"""The network between the processes of a cluster: loopback, with or without a proxy in front of every
server, or network namespaces joined by a bridge. Contexts, which leave nothing behind."""

import os
import pathlib
import shutil
import subprocess
from typing import Protocol

from tests.harness.errors import Failure
from tests.harness.ports import HOST, free_ports
from tests.harness.proxy_client import Proxy

NAMESPACE_PREFIX = "pdfaults"
SUBNET = "10.231.7"
BASE_PORT = 5000


class Network(Protocol):
    """The interface that a cluster uses."""

    def listen(self, shard: int) -> str:
        """The address on which a server listens."""

    def advertise(self, shard: int) -> str:
        """The address at which the others reach it."""

    def prefix(self, kind: str, index: int) -> list[str]:
        """The command that starts a process in its place: before the process's own words."""

    def flags(self) -> list[str]:
        """What every program needs to use it."""


class Loopback:
    """127.0.0.1, with every server behind a link of the proxy."""

    name = "loopback"

    def __init__(self, shards: int) -> None:
        ports = free_ports(2 * shards)
        self._own, self.links = ports[:shards], ports[shards:]
        self._proxy: Proxy | None = None

    def __enter__(self) -> "Loopback":
        self._proxy = Proxy(list(zip(self.links, self._own)))
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.close()
        self._proxy = None

    @property
    def proxy(self) -> Proxy:
        """The proxy, inside the context."""
        assert self._proxy is not None
        return self._proxy

    def listen(self, shard: int) -> str:
        """The address on which a server listens."""
        return f"{HOST}:{self._own[shard]}"

    def advertise(self, shard: int) -> str:
        """The address at which the others reach it."""
        return f"{HOST}:{self.links[shard]}"

    def prefix(self, kind: str, index: int) -> list[str]:
        """Returns nothing: a process needs no prefix."""
        return []

    def flags(self) -> list[str]:
        """Returns nothing: loopback is allowed to everybody."""
        return []


class Direct:
    """127.0.0.1 without a proxy: nothing can disturb it, and nothing slows it down."""

    name = "direct"

    def __init__(self, shards: int) -> None:
        self._ports = free_ports(shards)

    def __enter__(self) -> "Direct":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def listen(self, shard: int) -> str:
        """The address on which a server listens."""
        return f"{HOST}:{self._ports[shard]}"

    advertise = listen

    def prefix(self, kind: str, index: int) -> list[str]:
        """Returns nothing: a process needs no prefix."""
        return []

    def flags(self) -> list[str]:
        """Returns nothing: loopback is allowed to everybody."""
        return []


class Namespaces:
    """Network namespaces: "core" with the first servers and workers, "shard" with the last server,
    and "worker" with the last worker, each on a bridge in "core"."""

    name = "namespaces"

    def __init__(self, shards: int, workers: int) -> None:
        if shards < 2:
            raise Failure("namespaces need a server besides the coordinator's")
        self._shards = shards
        self._workers = workers
        self._names = {part: f"{NAMESPACE_PREFIX}-{os.getpid()}-{part}"
                       for part in ("core", "shard", "worker")}

    @staticmethod
    def unavailable() -> str:
        """Why they are not possible on this machine; empty if they are."""
        if not shutil.which("ip") or not shutil.which("nsenter"):
            return "ip or nsenter is not installed"
        try:
            with Namespaces(2, 1):
                return ""
        except Failure as failure:
            return str(failure)

    def __enter__(self) -> "Namespaces":
        remove_abandoned()
        try:
            for name in self._names.values():
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
            core = self._names["core"]
            _ip("-n", core, "link", "add", "bridge", "type", "bridge")
            _ip("-n", core, "addr", "add", f"{SUBNET}.1/24", "dev", "bridge")
            _ip("-n", core, "link", "set", "bridge", "up")
            for number, part in enumerate(("shard", "worker"), start=2):
                name = self._names[part]
                _ip("-n", core, "link", "add", part, "type", "veth", "peer", "name", "core",
                    "netns", name)
                _ip("-n", core, "link", "set", part, "master", "bridge", "up")
                _ip("-n", name, "addr", "add", f"{SUBNET}.{number}/24", "dev", "core")
                _ip("-n", name, "link", "set", "core", "up")
        except Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def listen(self, shard: int) -> str:
        """Returns the address on which a server listens, and at which the others reach it."""
        number = 2 if shard == self._shards - 1 else 1
        return f"{SUBNET}.{number}:{BASE_PORT + shard}"

    advertise = listen

    def prefix(self, kind: str, index: int) -> list[str]:
        """Returns the command that starts a process in its namespace."""
        part = "core"
        if kind == "server" and index == self._shards - 1:
            part = "shard"
        elif kind == "worker" and index == self._workers - 1:
            part = "worker"
        return ["nsenter", f"--net=/run/netns/{self._names[part]}"]

    def flags(self) -> list[str]:
        """Returns what lets plaintext leave loopback: the namespaces are this machine's."""
        return ["--insecure"]

    def cut(self, part: str) -> None:
        """Cuts "shard" or "worker" off: packets are lost silently."""
        _ip("-n", self._names["core"], "link", "set", part, "down")

    def join(self, part: str) -> None:
        """Ends cut()."""
        _ip("-n", self._names["core"], "link", "set", part, "up")


def remove_abandoned() -> None:
    """Removes namespaces of harnesses that were killed."""
    for path in pathlib.Path("/run/netns").glob(f"{NAMESPACE_PREFIX}-*-*"):
        pid = path.name.split("-")[1]
        if not pathlib.Path(f"/proc/{pid}").exists():
            subprocess.run(["ip", "netns", "del", path.name], check=False,
                           stderr=subprocess.DEVNULL)


def _ip(*words: str) -> None:
    result = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"ip {' '.join(words)}: {result.stderr.strip()}")
