# SPDX-License-Identifier: Apache-2.0
"""A cluster of real processes: servers and workers, and their status by pdctl."""

import contextlib
import dataclasses
import pathlib
import random
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from deploy.project import Binaries, ROOT
from tests.harness.commands import run
from tests.harness.disk import Disk, SmallDisk
from tests.harness.errors import Violation
from tests.harness.job import job_text
from tests.harness.network import SUBNET, Direct, Loopback, Namespaces, Network
from tests.harness.processes import Process
from tests.harness.status import Status

LEASE_SECONDS = 1
STATUS_SECONDS = 1  # the deadline of pdctl
CHECKSUM_SECONDS = 20  # in which the weights must be readable after a server came back
# Debian's libfaketime; None if it is not installed.
CLOCK_LIBRARY = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of a cluster."""
    shards: int = 3
    workers: int = 3
    network: str = "loopback"  # or "direct", "namespaces"
    disk: str = "disk"  # or "tmpfs"
    fake_clock: bool = False  # a wall clock that the test can make jump
    tls: bool = False  # over mTLS, with certificates that Cluster gets

    def __str__(self) -> str:
        clock = ", a wall clock that jumps" if self.fake_clock else ""
        tls = " over TLS" if self.tls else ""
        return (f"{self.shards} shards, {self.workers} workers, {self.network}{tls}, checkpoints on "
                f"{self.disk}{clock}")


class Cluster(contextlib.ExitStack):
    """The processes of a training. A context, which ends all of them."""

    def __init__(self, binaries: Binaries, folder: pathlib.Path, layout: Layout, data: pathlib.Path,
                 max_steps: int, seed: int = 1, give_up_seconds: int = 60,
                 server_flags: Sequence[str] = (),
                 certificates: pathlib.Path | None = None) -> None:
        super().__init__()
        self.layout = layout
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificates = self.folder / "certificates"  # its own: a fault may replace them
        if layout.tls:
            assert certificates is not None, "a cluster with TLS needs certificates"
            shutil.copytree(certificates, self.certificates)
        self.max_steps = max_steps
        self._binaries = binaries
        try:
            self._prepare(data, seed, give_up_seconds, server_flags)
        except BaseException:
            self.close()
            raise

    def _prepare(self, data: pathlib.Path, seed: int, give_up_seconds: int,
                 server_flags: Sequence[str]) -> None:
        layout = self.layout
        self.network: Network
        if layout.network == "loopback":
            self.network = self.enter_context(Loopback(layout.shards))
        elif layout.network == "direct":
            self.network = self.enter_context(Direct(layout.shards))
        else:
            self.network = self.enter_context(Namespaces(layout.shards, layout.workers))
        self.disk: Disk | SmallDisk
        if layout.disk == "disk":
            self.disk = self.enter_context(Disk(self.folder))
        else:
            self.disk = self.enter_context(SmallDisk(self.folder))
        self.checkpoints = self.disk.directory
        self.clock = self.folder / "clock"  # the offset of the faked wall clock
        job = self.folder / "job.textproto"
        job.write_text(job_text(self.max_steps, self.checkpoints, seed=seed))
        environment = self._clock_environment() if layout.fake_clock else {}

        def process(name: str, kind: str, index: int,
                    command: Sequence[str | pathlib.Path]) -> Process:
            made = Process(name, command, self.folder / f"{name}.log",
                           self.network.prefix(kind, index), environment)
            self.callback(made.close)
            return made

        coordinator = f"--coordinator={self.network.advertise(0)}"
        flags = self._security_flags
        self.servers = [
            process(f"server-{shard}", "server", shard,
                    [self._binaries.server, f"--listen={self.network.listen(shard)}",
                     f"--advertise={self.network.advertise(shard)}", f"--shards={layout.shards}",
                     f"--shard={shard}", coordinator, f"--job={job}", "--threads=1",
                     f"--lease_deadline={LEASE_SECONDS}s", *flags(f"shard-{shard}"), *server_flags])
            for shard in range(layout.shards)]
        self.workers = [
            process(f"worker-{number}", "worker", number,
                    [self._binaries.worker, coordinator, f"--data={data}", "--threads=1",
                     f"--name=worker-{number}", f"--give_up_after={give_up_seconds}s",
                     *flags("worker"),
                     # Both transports in every training: a fault may strike either.
                     f"--shared_memory={'true' if number % 2 == 0 else 'false'}"])
            for number in range(layout.workers)]

    def _security_flags(self, name: str) -> list[str]:
        """The flags of a process with the certificate of this name, or of one without any."""
        if not self.layout.tls:
            return self.network.flags()
        return certificate_flags(self.certificates, name)

    def _clock_environment(self) -> dict[str, str]:
        self.clock.write_text("+0\n")
        return {"LD_PRELOAD": str(CLOCK_LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}

    @property
    def coordinator(self) -> Process:
        """The server that hosts the coordinator."""
        return self.servers[0]

    @property
    def processes(self) -> list[Process]:
        """All servers and workers."""
        return self.servers + self.workers

    def start(self, order: random.Random | None = None) -> None:
        """Starts all that do not run, in random order if `order` is given."""
        waiting = [process for process in self.processes if not process.runs]
        if order is not None:
            order.shuffle(waiting)
        for process in waiting:
            process.start()

    def pdctl(self, *arguments: str, seconds: int = STATUS_SECONDS) -> str | None:
        """Returns what pdctl prints; None if it fails."""
        command = [*self.network.prefix("server", 0), self._binaries.pdctl,
                   f"--server={self.network.listen(0)}", f"--deadline={seconds}s",
                   *self._security_flags("operator"), *arguments]
        try:
            result = subprocess.run([str(word) for word in command], check=False, text=True,
                                    capture_output=True, timeout=seconds + 5)
        except subprocess.TimeoutExpired:
            raise Violation(f"pdctl {arguments[0]} --deadline={seconds}s has not ended after "
                            f"{seconds + 5} s") from None
        return result.stdout if result.returncode == 0 else None

    def status(self) -> Status | None:
        """Returns the status; None while the coordinator does not answer."""
        text = self.pdctl("status", "--format=json")
        return Status.parse(text) if text else None

    def checksum(self) -> tuple[str | None, int]:
        """Returns the SHA-256 of the weights, and their step."""
        until = time.monotonic() + CHECKSUM_SECONDS  # a server may be about to answer again
        while time.monotonic() < until:
            text = self.pdctl("checksum", seconds=10)
            found = re.match(r"([0-9a-f]{64})  step (\d+)", text or "")
            if found:
                return found.group(1), int(found.group(2))
            time.sleep(0.2)
        return None, -1

    def tails(self) -> str:
        """Returns the last lines of every process, for a report."""
        return "\n".join(process.tail() for process in self.processes)


def make_certificates(folder: pathlib.Path, shards: int = 3) -> pathlib.Path:
    """Fills the folder with the certificates of a cluster, for all addresses that a network has; again,
    with new ones of the same CA."""
    hosts = ["127.0.0.1", *(f"{SUBNET}.{number}" for number in (1, 2, 3))]
    run(ROOT / "deploy/tls/make-certs", folder, f"--shards={shards}", f"--hosts={','.join(hosts)}")
    return folder


def certificate_flags(folder: pathlib.Path, name: str) -> list[str]:
    """The flags of a process with the certificate of this name."""
    return [f"--tls_ca={folder / 'ca.pem'}", f"--tls_cert={folder / f'{name}.pem'}",
            f"--tls_key={folder / f'{name}.key'}"]


def random_layout(source: random.Random, **fixed: Any) -> Layout:
    """Returns a random layout with the fixed fields."""
    sizes: dict[str, Any] = {"shards": source.choice((2, 3)), "workers": source.choice((2, 3))}
    return Layout(**{**sizes, **fixed})


def seeded(*words: object) -> random.Random:
    """Returns a random number generator seeded with the words."""
    return random.Random(" ".join(map(str, words)))
