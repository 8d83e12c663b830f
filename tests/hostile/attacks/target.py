# SPDX-License-Identifier: Apache-2.0
"""The server that is attacked, how it is reached, and how its answers are counted."""

import collections
import contextlib
import dataclasses
import pathlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from percentdelta import _protocol

HOST = "127.0.0.1"
ERRORS = (OSError, grpc.RpcError, ValueError)


@dataclasses.dataclass(frozen=True)
class Attack:
    """What a hostile or broken client does. `run` returns when the target's time is over, and ignores
    every error, as an attacker would."""
    name: str
    what: str  # for the table
    certificate: str  # its name; empty: none, it comes from outside
    run: "Callable[[Target], None]"
    first: bool = False  # begins before the first worker
    by_role: bool = False  # only its role keeps it from changing the weights


ATTACKS: dict[str, Attack] = {}


def attack(certificate: str = "", **more: bool) -> Callable[
        ["Callable[[Target], None]"], "Callable[[Target], None]"]:
    """Registers the function as an attack; its name and the first line of its text are the table's."""
    def register(function: "Callable[[Target], None]") -> "Callable[[Target], None]":
        name = function.__name__
        assert function.__doc__ and name not in ATTACKS
        what = function.__doc__.splitlines()[0].rstrip(".")
        ATTACKS[name] = Attack(name, what, certificate, function, **more)
        return function
    return register


class Target:
    """A server, and for how long it is attacked. Without `certificates`, it has no TLS."""

    def __init__(self, port: int, seconds: float, certificates: pathlib.Path | None = None,
                 certificate: str = "") -> None:
        self.port = port
        self.answers: collections.Counter[str] = collections.Counter()
        self._until = time.monotonic() + seconds
        self._certificates = certificates
        self._certificate = certificate
        self._kept: list[Any] = []

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self._until - time.monotonic()

    def rest(self) -> None:
        """Waits for the end."""
        time.sleep(max(0.0, self.left()))

    def pause(self, seconds: float) -> None:
        """Waits for that long, or until the end."""
        time.sleep(max(0.0, min(seconds, self.left())))

    def keep(self, held: Any) -> None:
        """Holds on to something until the end."""
        self._kept.append(held)

    def kept(self) -> int:
        """Returns how many things are held."""
        return len(self._kept)

    def drop(self) -> None:
        """Releases them."""
        self._kept.clear()

    def count(self, answer: str, number: int = 1) -> None:
        """Counts an attempt by its answer."""
        self.answers[answer] += number

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what is done inside by its outcome."""
        try:
            yield
            self.count("OK")
        except ERRORS as error:
            self.count(outcome(error))
            raise

    def plain(self) -> socket.socket:
        """Opens a connection."""
        return socket.create_connection((HOST, self.port), timeout=5)

    def connect(self) -> socket.socket:
        """Opens a connection for HTTP/2: with TLS, if the server has it, and the certificate."""
        connection = self.plain()
        if self._certificates is None:
            return connection
        try:
            return self.tls().wrap_socket(connection, server_hostname=HOST)
        except BaseException:
            connection.close()
            raise

    def tls(self) -> ssl.SSLContext:
        """Returns how TLS is spoken."""
        assert self._certificates is not None
        context = ssl.create_default_context(cafile=str(self._certificates / "ca.pem"))
        context.set_alpn_protocols(["h2"])
        if self._certificate:
            certificate, key = self._files(self._certificate)
            context.load_cert_chain(certificate, key)
        return context

    def channel(self, certificate: str | None = None) -> Any:
        """Returns a gRPC channel with a connection of its own, which reads nothing by itself; by
        default with the attack's certificate."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1),
                   ("grpc.max_receive_message_length", -1), ("grpc.http2.lookahead_bytes", 65536),
                   ("grpc.http2.bdp_probe", 0), ("grpc.initial_reconnect_backoff_ms", 100),
                   ("grpc.max_reconnect_backoff_ms", 100),
                   ("grpc.min_reconnect_backoff_ms", 10_000)]  # also the time for a connection
        address = f"{HOST}:{self.port}"
        if self._certificates is None:
            return grpc.insecure_channel(address, options=options)
        key = chain = None
        name = self._certificate if certificate is None else certificate
        if name:
            chain, key = (path.read_bytes() for path in self._files(name))
        credentials = grpc.ssl_channel_credentials((self._certificates / "ca.pem").read_bytes(),
                                                   key, chain)
        return grpc.secure_channel(address, credentials, options=options)

    def stub(self, service: str, certificate: str | None = None) -> Any:
        """Returns a stub with a connection of its own."""
        return _protocol.Stub(service, self.channel(certificate))

    def _files(self, name: str) -> tuple[pathlib.Path, pathlib.Path]:
        assert self._certificates is not None
        return self._certificates / f"{name}.pem", self._certificates / f"{name}.key"


def outcome(error: object) -> str:
    """Returns what an attempt ended with, in a word."""
    code = getattr(error, "code", None)
    if isinstance(error, grpc.RpcError) and callable(code) and code() is not None:
        return str(code().name)
    return "connection refused or closed" if isinstance(error, OSError) else "an error"


def message(name: str, **fields: Any) -> Any:
    """Returns a message of the protocol."""
    return _protocol.message(name)(**fields)


def again(target: Target, attempt: Callable[[], object], pause: float = 0.0,
          threads: int = 1) -> None:
    """Repeats an attempt in this number of threads until the time is over; ignores failures."""
    def run() -> None:
        while target.left() > 0:
            try:
                with target.counting():
                    attempt()
            except ERRORS:
                time.sleep(0.01)
            time.sleep(pause)
    others = [threading.Thread(target=run, daemon=True) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    run()


def hold(target: Target, count: int, begin: Callable[[int], Any]) -> None:
    """Keeps that many calls open: begins another one, with the next number, for each that ends."""
    calls: list[Any] = []
    number = 0
    while target.left() > 0:
        for call in [call for call in calls if not call.is_active()]:
            calls.remove(call)
            target.count(call.code().name if call.code() is not None else "ended")
        for _ in range(min(50, count - len(calls))):
            try:
                calls.append(begin(number))
                number += 1
            except ERRORS as error:
                target.count(outcome(error))
        target.answers["still open"] = len(calls)
        time.sleep(0.02)


def progress_of(target: Target) -> Any:
    """Returns the progress of the training, without its history: a worker does not see it, but can
    guess most of it."""
    stub = target.stub("Coordinator", "viewer")
    while True:
        try:
            return stub.GetProgress(message("GetProgressRequest", from_step=1 << 40), timeout=5)
        except grpc.RpcError:
            target.pause(0.1)
