# SPDX-License-Identifier: Apache-2.0
"""The proxy, with an echo server as its target."""

import socket
import threading
import time
import unittest

from tests.harness.ports import HOST, free_ports
from tests.harness.proxy_client import Proxy


class Echo:
    """An echo server that keeps what each connection has sent."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server((HOST, port))
        self.received: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def await_received(self, expected: list[bytes]) -> None:
        """Waits until the connections have sent this, in any order."""
        deadline = time.monotonic() + 10
        while sorted(map(bytes, self.received)) != sorted(expected):
            if time.monotonic() > deadline:
                raise AssertionError(f"expected {expected}, got {self.received}")
            time.sleep(0.01)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.received.append(bytearray())
            threading.Thread(target=self._echo, args=(peer, self.received[-1]), daemon=True).start()

    @staticmethod
    def _echo(peer: socket.socket, received: bytearray) -> None:
        with peer:
            try:
                while data := peer.recv(1 << 16):
                    received += data
                    peer.sendall(data)
            except OSError:
                pass


class ProxyTest(unittest.TestCase):
    """Each kind of disturbance."""

    def setUp(self) -> None:
        self.port, target = free_ports(2)
        self.echo = Echo(target)
        self.addCleanup(self.echo.close)
        self.proxy = Proxy([(self.port, target)])
        self.addCleanup(self.proxy.close)

    def connect(self) -> socket.socket:
        """Returns a client's connection through the proxy."""
        client = socket.create_connection((HOST, self.port), timeout=10)
        self.addCleanup(client.close)
        return client

    def talk(self, client: socket.socket, data: bytes) -> None:
        """Sends the bytes and waits for the echo."""
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        answer = bytearray()
        while len(answer) < len(data):
            got = client.recv(1 << 16)
            self.assertTrue(got, "the connection ended")
            answer += got
        sender.join()
        self.assertEqual(bytes(answer), data)

    def assert_silent(self, client: socket.socket, seconds: float = 0.2) -> None:
        """Checks that nothing arrives, not even the end."""
        client.settimeout(seconds)
        with self.assertRaises(TimeoutError):
            client.recv(1)
        client.settimeout(10)

    def test_forwards_bytes_and_ends(self) -> None:
        client = self.connect()
        self.talk(client, bytes(range(256)) * 40000)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(1), b"")
        self.assertEqual(self.proxy.count(self.port)["connections"], 0)

    def test_refuses_when_the_target_is_gone(self) -> None:
        self.echo.close()
        with self.assertRaises(ConnectionResetError):
            self.connect().recv(1)  # the reset may be there before connecting returns

    def test_cut_resets_both_ends_and_accepts_others(self) -> None:
        client = self.connect()
        self.talk(client, b"before")
        self.proxy.cut(self.port)
        with self.assertRaises(ConnectionResetError):
            client.recv(1)
        self.talk(self.connect(), b"after")

    def test_half_open_keeps_the_client(self) -> None:
        client = self.connect()
        self.talk(client, b"before")
        self.proxy.half_open(self.port, "client")
        client.sendall(b"lost")
        self.assert_silent(client)
        during = self.connect()
        during.sendall(b"lost, too")
        self.assert_silent(during)
        self.proxy.open(self.port)
        self.talk(self.connect(), b"after")
        self.assert_silent(client)
        self.echo.await_received([b"before", b"after"])

    def test_half_open_keeps_the_server(self) -> None:
        client = self.connect()
        self.talk(client, b"before")
        self.proxy.half_open(self.port, "server")
        with self.assertRaises(ConnectionResetError):
            client.recv(1)
        self.assertEqual(self.proxy.count(self.port)["connections"], 1)

    def test_delay(self) -> None:
        client = self.connect()
        self.proxy.set(self.port, delay=0.2)
        began = time.monotonic()
        self.talk(client, b"late" * 100000)
        self.assertGreater(time.monotonic() - began, 0.4)  # there and back
        self.proxy.set(self.port, delay=0)
        began = time.monotonic()
        self.talk(client, b"soon")
        self.assertLess(time.monotonic() - began, 0.2)

    def test_rate(self) -> None:
        client = self.connect()
        self.proxy.set(self.port, rate=1000000)
        began = time.monotonic()
        self.talk(client, bytes(300000))
        took = time.monotonic() - began
        self.assertGreater(took, 0.2)
        self.assertLess(took, 3)
        self.proxy.set(self.port, rate=0)
        self.talk(client, bytes(10000000))

    def test_duplicates_at_once_and_late(self) -> None:
        before = self.connect()
        self.talk(before, b"before")
        self.proxy.set(self.port, mirror=True)
        client = self.connect()
        self.talk(client, b"one")
        self.talk(client, b"two")
        self.echo.await_received([b"before", b"onetwo", b"onetwo"])
        self.proxy.replay(self.port)
        self.echo.await_received([b"before", b"onetwo", b"onetwo", b"onetwo"])
        self.talk(client, b"three")
        self.talk(before, b"four")
        self.echo.await_received([b"beforefour", b"onetwothree", b"onetwo", b"onetwo"])
        self.assertEqual(self.proxy.count(self.port)["duplicated"], 12)


if __name__ == "__main__":
    unittest.main()
