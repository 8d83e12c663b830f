# SPDX-License-Identifier: Apache-2.0
"""Faults of the network between the processes."""

from tests.faults.fault import Fault
from tests.faults.training import Training
from tests.harness.cluster import Cluster
from tests.harness.network import Loopback, Namespaces
from tests.harness.proxy_client import Proxy

MEGABYTE = 1 << 20


def _loopback(cluster: Cluster) -> Loopback:
    assert isinstance(cluster.network, Loopback)
    return cluster.network


def _namespaces(cluster: Cluster) -> Namespaces:
    assert isinstance(cluster.network, Namespaces)
    return cluster.network


class ProxyFault(Fault):
    """A disturbance by the proxy of the connections of one server, or of all."""

    group = "network"
    fixed = {"network": "loopback"}

    def __init__(self) -> None:
        self._links: list[int] = []

    def strike(self, training: Training) -> bool:
        network = _loopback(training.cluster)
        shard = training.random.randrange(len(network.links) + 1)
        self._links = network.links if shard == len(network.links) else [network.links[shard]]
        training.note("all servers" if len(self._links) > 1 else f"server-{shard}")
        for link in self._links:
            self.disturb(network.proxy, link, training)
        return True

    def heal(self, training: Training) -> None:
        for link in self._links:
            self.mend(_loopback(training.cluster).proxy, link)

    def disturb(self, proxy: Proxy, link: int, training: Training) -> None:
        """Disturbs one link."""
        raise NotImplementedError

    def mend(self, proxy: Proxy, link: int) -> None:
        """Ends the disturbance of one link."""


class Cut(ProxyFault):
    """Every connection is reset, once."""

    name = "connections-cut"
    what = "connections of a server, or of all: reset"

    def disturb(self, proxy: Proxy, link: int, training: Training) -> None:
        proxy.cut(link)


class HalfOpen(ProxyFault):
    """One end of each connection is gone, the other end does not notice."""

    # Where the clock does not jump: gRPC's keepalive, which notices, uses the wall clock (decision 9).
    fixed = {"network": "loopback", "fake_clock": False}
    name = "connections-half-open"
    what = "the same: half open, one end does not notice"
    hold = (0.5, 4.0)
    limit = 60  # only a keepalive notices

    def disturb(self, proxy: Proxy, link: int, training: Training) -> None:
        keep = training.random.choice(("client", "server"))
        training.note(f"the {keep}'s end stays")
        proxy.half_open(link, keep)

    def mend(self, proxy: Proxy, link: int) -> None:
        proxy.open(link)


class Delay(ProxyFault):
    """Bytes arrive later."""

    name = "connections-delayed"
    what = "the same: 20 to 500 ms later in each direction"
    hold = (0.5, 4.0)

    def disturb(self, proxy: Proxy, link: int, training: Training) -> None:
        seconds = training.random.uniform(0.02, 0.5)
        training.note(f"{1e3 * seconds:.0f} ms")
        proxy.set(link, delay=seconds)

    def mend(self, proxy: Proxy, link: int) -> None:
        proxy.set(link, delay=0)


class Throttle(ProxyFault):
    """Fewer bytes a second than a step needs."""

    name = "connections-throttled"
    what = "the same: 1 to 20 MB a second in each direction"
    hold = (0.5, 4.0)

    def disturb(self, proxy: Proxy, link: int, training: Training) -> None:
        rate = training.random.uniform(1, 20) * MEGABYTE
        training.note(f"{rate / MEGABYTE:.0f} MB/s")
        proxy.set(link, rate=rate)

    def mend(self, proxy: Proxy, link: int) -> None:
        proxy.set(link, rate=0)


class Duplicate(ProxyFault):
    """Connections are cut, and all that clients send arrives twice; at the end a third time."""

    name = "connections-duplicated"
    what = "the same: all that clients send comes twice at once, and once more later"
    hold = (0.5, 3.0)

    def disturb(self, proxy: Proxy, link: int, training: Training) -> None:
        proxy.set(link, mirror=True)
        proxy.cut(link)

    def mend(self, proxy: Proxy, link: int) -> None:
        proxy.replay(link)

    def heal(self, training: Training) -> None:
        proxy = _loopback(training.cluster).proxy
        before = sum(proxy.count(link)["duplicated"] for link in self._links)
        super().heal(training)
        training.note(f"{before / MEGABYTE:.0f} MB twice")


class CutOff(Fault):
    """A network namespace whose link is down: packets are lost silently."""

    group = "network"
    fixed = {"network": "namespaces"}
    hold = (0.5, 4.0)
    limit = 30  # TCP retries after up to twice the time that it was cut off

    def __init__(self, part: str) -> None:
        self.part = part
        self.name = f"namespace-{part}"
        self.what = f"the network namespace of a {part}: cut off, joined again"

    def unavailable(self) -> str:
        return Namespaces.unavailable()

    def strike(self, training: Training) -> bool:
        _namespaces(training.cluster).cut(self.part)
        return True

    def heal(self, training: Training) -> None:
        _namespaces(training.cluster).join(self.part)


def network_faults() -> list[Fault]:
    """Returns all faults of this module."""
    return [Cut(), HalfOpen(), Delay(), Throttle(), Duplicate(), CutOff("worker"), CutOff("shard")]
