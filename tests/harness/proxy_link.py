# SPDX-License-Identifier: Apache-2.0
"""A port of the proxy (proxy.py): its connections, and the disturbances of them.

Sockets are non-blocking; the caller polls. Time is an argument. An OSError of a pipe means that its
connection is broken: Link.drop() it.
"""

import collections
import socket
import struct
from collections.abc import Callable
from typing import Any

Request = dict[str, Any]  # a command (proxy.py), with the time as "now"

HOST = "127.0.0.1"
CHUNK = 1 << 18
QUEUE_BYTES = 1 << 20  # read ahead in a direction...
DELAYED_BYTES = 1 << 26  # ...and where it is delayed: in flight
RECORD_BYTES = 1 << 26
REPLAY_SECONDS = 2  # how long a replayed connection stays open
TICK_SECONDS = 0.005  # how often a limited rate sends


def connect(port: int) -> socket.socket:
    """Connects to a target on this machine."""
    sock = socket.create_connection((HOST, port), timeout=1)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reset(sock: socket.socket) -> None:
    """Closes a connection so that the other end gets an RST."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


class Bucket:
    """Limits the bytes per second. A rate of 0 is no limit."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._tokens = 0.0
        self._at = 0.0

    def allowed(self, now: float) -> int:
        """Returns the number of bytes that may pass now."""
        if not self.rate:
            return CHUNK
        most = max(1.0, 4 * TICK_SECONDS * self.rate)
        self._tokens = min(most, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Counts bytes that have passed."""
        if self.rate:
            self._tokens -= count


class Pipe:
    """One direction of a connection. Without a source it sends what put() gets; without a sink it drops
    what it reads."""

    def __init__(self, link: "Link", source: socket.socket | None, sink: socket.socket | None,
                 bucket: Bucket | None = None) -> None:
        self.source = source
        self.sink = sink
        # Called with every chunk that is read, and the time.
        self.tap: Callable[[bytes, float], None] | None = None
        self.ended = False  # no more bytes will arrive
        self.blocked = False  # the sink is full
        self._shut = False  # the sink knows that it has ended
        self._link = link
        self._bucket = bucket or Bucket()
        self._queue: collections.deque[tuple[float, memoryview]] = collections.deque()  # (due, bytes)
        self._bytes = 0

    @property
    def done(self) -> bool:
        """Whether everything has been sent."""
        return self.ended and (self._shut or self.sink is None)

    @property
    def reads(self) -> bool:
        """Whether to read."""
        most = DELAYED_BYTES if self._link.delay else QUEUE_BYTES
        return self.source is not None and not self.ended and self._bytes < most

    @property
    def busy(self) -> bool:
        """Whether it has something to send."""
        return self.sink is not None and (bool(self._queue) or (self.ended and not self._shut))

    def put(self, data: bytes, due: float) -> None:
        """Queues bytes, to be sent when they are due."""
        self._queue.append((due, memoryview(data)))
        self._bytes += len(data)

    def read(self, now: float) -> None:
        """Reads what the source has."""
        assert self.source is not None
        data = self.source.recv(CHUNK)
        if not data:
            self.ended = True
        elif self.sink is not None:
            self.put(data, now + self._link.delay)
            if self.tap:
                self.tap(data, now)

    def flush(self, now: float) -> float | None:
        """Sends what is due. Returns the seconds after which to continue; None: when the sink has room,
        or nothing is left."""
        assert self.sink is not None
        self.blocked = False
        while self._queue:
            due, data = self._queue[0]
            if due > now:
                return due - now
            allowed = self._bucket.allowed(now)
            if data and not allowed:
                return TICK_SECONDS
            try:
                sent = self.sink.send(data[:allowed]) if data else 0
            except BlockingIOError:
                self.blocked = True
                return None
            self._bucket.take(sent)
            self._link.forwarded += sent
            self._bytes -= sent
            if sent == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = (due, data[sent:])
        if self.ended and not self._shut:
            self._shut = True
            self.sink.shutdown(socket.SHUT_WR)
        return None


class Connection:
    """Pipes that end together."""

    def __init__(self, *pipes: Pipe) -> None:
        self.pipes = pipes
        self.copy: Connection | None = None  # gets a duplicate of what the client sends
        self.sent: bytearray | None = None  # what the client has sent so far, if recorded

    @property
    def ends(self) -> set[socket.socket]:
        """Its sockets."""
        return {end for pipe in self.pipes for end in (pipe.source, pipe.sink) if end is not None}

    @property
    def over(self) -> bool:
        """Whether it has ended in order."""
        return all(pipe.done for pipe in self.pipes)


class Link:
    """A listening port, its target, and the connections between the two."""

    def __init__(self, port: int, target: int) -> None:
        self.delay = 0.0
        self.mirror = False
        self.half_open = False
        self.connections: list[Connection] = []
        self.forwarded = 0
        self.duplicated = 0
        self.listener = socket.create_server((HOST, port), backlog=128)
        self.listener.setblocking(False)
        self._target = target
        self._up, self._down = Bucket(), Bucket()

    def accept(self) -> None:
        """Accepts a connection. Resets it if the target does not listen."""
        client, _ = self.listener.accept()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.half_open:
            self.connections.append(self._silent(client))
            return
        try:
            target = connect(self._target)
        except OSError:
            reset(client)
            return
        connection = Connection(Pipe(self, client, target, self._up),
                                Pipe(self, target, client, self._down))
        self.connections.append(connection)
        if self.mirror:
            self._duplicate(connection)

    def drop(self, connection: Connection) -> None:
        """Ends a connection and its copy: resets the sockets that are open."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        for end in connection.ends:
            if connection.over:
                end.close()
            else:
                reset(end)
        if connection.copy is not None:
            self.drop(connection.copy)

    def command(self, request: Request) -> dict[str, int]:
        """Executes a command (proxy.py); returns the answer."""
        for name, value in request.get("set", {}).items():
            if name == "rate":
                self._up.rate = self._down.rate = value
            else:
                setattr(self, name, value)
        if "do" in request:
            actions: dict[str, Callable[[Request], None]] = {
                "cut": self._cut, "half_open": self._halve, "open": self._open,
                "replay": self._replay, "count": lambda _: None}
            actions[request["do"]](request)
        return {"connections": len(self.connections), "forwarded": self.forwarded,
                "duplicated": self.duplicated}

    def _silent(self, end: socket.socket) -> Connection:
        return Connection(Pipe(self, end, None))

    def _feed(self) -> Connection:
        """Opens a connection to the target that sends what put() gets."""
        target = connect(self._target)
        connection = Connection(Pipe(self, None, target), Pipe(self, target, None))
        self.connections.append(connection)
        return connection

    def _duplicate(self, connection: Connection) -> None:
        connection.sent = sent = bytearray()
        connection.copy = copy = self._feed()

        def tap(data: bytes, now: float) -> None:
            if len(sent) + len(data) <= RECORD_BYTES:
                sent.extend(data)
            if copy in self.connections:
                copy.pipes[0].put(data, now)
                self.duplicated += len(data)

        connection.pipes[0].tap = tap

    def _cut(self, _: Request) -> None:
        for connection in list(self.connections):
            self.drop(connection)

    def _halve(self, request: Request) -> None:
        self.half_open = True
        for connection in list(self.connections):
            first = connection.pipes[0]
            if first.source is None or first.sink is None:
                continue
            client_is_kept = request["keep"] == "client"
            kept, gone = (first.source, first.sink)[::1 if client_is_kept else -1]
            if connection.copy is not None:
                self.drop(connection.copy)
            reset(gone)
            self.connections[self.connections.index(connection)] = self._silent(kept)

    def _open(self, _: Request) -> None:
        self.half_open = False

    def _replay(self, request: Request) -> None:
        self.mirror = False
        now = request["now"]
        for connection in list(self.connections):
            sent = connection.sent
            if sent is None:
                continue
            if connection.copy is not None:
                self.drop(connection.copy)
            try:
                late = self._feed().pipes[0]
            except OSError:
                continue  # the target is down
            self.duplicated += len(sent)
            late.put(bytes(sent), now)
            late.put(b"", now + REPLAY_SECONDS)
            late.ended = True
            connection.sent = connection.copy = None
            connection.pipes[0].tap = None
