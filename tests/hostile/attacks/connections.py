# SPDX-License-Identifier: Apache-2.0
"""What a stranger can do who has no certificate: outside, where there is TLS."""

import socket

from tests.hostile.attacks.frames import START, call, headers, resets
from tests.hostile.attacks.target import Target, again, attack

# The beginning of TLS's first message: a handshake of 512 bytes, of which some have come.
BEGUN_HANDSHAKE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)


def keep_open(target: Target, count: int, first: bytes) -> None:
    """Opens that many connections, sends a few bytes on each, and then nothing."""
    def begin() -> None:
        connection = target.plain()
        connection.sendall(first)
        target.keep(connection)
        if target.kept() >= count:
            target.rest()
            target.drop()
    again(target, begin)


@attack()
def idle_connections(target: Target) -> None:
    """1,000 connections on which nothing is sent."""
    keep_open(target, 1000, b"")


@attack()
def begun_connections(target: Target) -> None:
    """500 connections that begin HTTP/2, and then stand still."""
    keep_open(target, 500, START)


@attack()
def begun_handshakes(target: Target) -> None:
    """500 TLS handshakes that are begun, and then stand still."""
    keep_open(target, 500, BEGUN_HANDSHAKE)


@attack()
def one_byte_a_second(target: Target) -> None:
    """100 connections, each of which sends a byte a second."""
    connections: list[socket.socket] = []

    def send() -> None:
        if len(connections) < 100:
            connections.append(target.plain())
            return
        for byte in START * 100:
            for connection in connections:
                try:
                    connection.send(bytes([byte]))
                    target.count("sent")
                except OSError:
                    target.count("connection refused or closed")
            if target.left() <= 0:
                return
            target.pause(1)
    again(target, send)


@attack()
def garbage(target: Target) -> None:
    """Random bytes, HTTP/1.1, and frames and records that declare more than comes."""
    requests = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 16,
                START + b"\xff" * 1000, START + b"\xff\xff\xff\0\0\0\0\0\1" + b"\x7f\xff\xff\xff" * 64,
                b"\x16\x03\x03\xff\xff" + bytes(1000)]

    def send() -> None:
        for request in requests:
            with target.plain() as connection:
                connection.sendall(request)
    again(target, send, 0.01)


def call_at_once(target: Target, calls: bytes) -> None:
    """Does the handshake, sends calls at once, and reads what comes back, until nothing does."""
    with target.connect() as connection:
        connection.sendall(START + calls)
        connection.settimeout(2)
        received = b""
        while data := connection.recv(1 << 16):
            received += data
    if not received:
        raise ConnectionResetError


@attack()
def cheap_calls_outside(target: Target) -> None:
    """Handshakes without a certificate, and cheap calls right behind them, as fast as 4 threads can."""
    progress = call("/percentdelta.v1.Coordinator/GetProgress", 1, b"")
    again(target, lambda: call_at_once(target, progress), threads=4)


@attack()
def frames_outside(target: Target) -> None:
    """The same with 10,000 streams that are opened and reset."""
    block = headers("/percentdelta.v1.Coordinator/GetProgress")
    flood = resets(1, block, 10_000)
    again(target, lambda: call_at_once(target, flood), threads=2)


@attack(certificate="other/worker")
def certificates_of_others(target: Target) -> None:
    """The same with a certificate of another CA."""
    progress = call("/percentdelta.v1.Coordinator/GetJob", 1, b"")
    again(target, lambda: call_at_once(target, progress), threads=2)
