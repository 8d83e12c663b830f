# SPDX-License-Identifier: Apache-2.0
"""Faults of the certificates of a cluster with TLS. Connections are cut at the same time: those that
exist go on with what they have."""

import pathlib
import shutil

from tests.faults.fault import Fault
from tests.faults.training import Training
from tests.harness.cluster import make_certificates
from tests.harness.network import Loopback


def _cut(training: Training) -> None:
    network = training.cluster.network
    assert isinstance(network, Loopback)
    for link in network.links:
        network.proxy.cut(link)


class CertificateFault(Fault):
    """A fault that needs a cluster with TLS, and the proxy, which cuts connections."""

    group = "network"
    fixed = {"network": "loopback", "tls": True}


class Replaced(CertificateFault):
    """All processes get new certificates of the same CA, as in a rotation."""

    name = "certificates-replaced"
    what = "all certificates: replaced by new ones, and connections cut"
    hold = (0.0, 2.0)

    def strike(self, training: Training) -> bool:
        make_certificates(training.cluster.certificates)
        _cut(training)
        return True

    def heal(self, training: Training) -> None:
        _cut(training)  # if not before, now the new ones are used


class Foreign(CertificateFault):
    """A process gets a certificate of another CA for a while, which no other accepts."""

    name = "certificate-foreign"
    what = "that of a server, or of all workers: of another CA for a while, and connections cut"
    hold = (1.5, 4.0)  # files are read again at most a second after they change
    limit = 30

    def __init__(self) -> None:
        self._name = ""

    def prepare(self, training: Training) -> None:
        if not self._foreign(training).exists():
            make_certificates(self._foreign(training))

    def strike(self, training: Training) -> bool:
        folder = training.cluster.certificates
        shards = training.cluster.layout.shards
        self._name = training.random.choice(["worker", *(f"shard-{n}" for n in range(shards))])
        training.note(self._name)
        for ending in ("key", "pem"):
            shutil.copy(folder / f"{self._name}.{ending}", folder / f"own.{ending}")
            _put(self._foreign(training) / f"{self._name}.{ending}", folder)
        training.watch.pass_time(1.2)  # it has been read
        _cut(training)
        return True

    def heal(self, training: Training) -> None:
        folder = training.cluster.certificates
        for ending in ("key", "pem"):
            (folder / f"own.{ending}").rename(folder / f"{self._name}.{ending}")

    @staticmethod
    def _foreign(training: Training) -> pathlib.Path:
        return training.cluster.folder / "foreign-certificates"


def _put(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Copies a file to the folder, at once."""
    temporary = folder / f".{source.name}"
    shutil.copy(source, temporary)
    temporary.rename(folder / source.name)


def certificate_faults() -> list[Fault]:
    """Returns all faults of this module."""
    return [Replaced(), Foreign()]
