# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that disturbs its connections, as its own process.

usage: python3 -m tests.harness.proxy LISTEN_PORT:TARGET_PORT...    each pair, on 127.0.0.1, is a link

Commands are lines of JSON on the standard input, each with the link's listening port, and each is
answered by one line of JSON on the standard output:

  {"link": PORT, "set": {"delay": S}}       bytes arrive S seconds later, in both directions
  {"link": PORT, "set": {"rate": B}}        B bytes a second, in each direction; 0: no limit
  {"link": PORT, "set": {"mirror": true}}   duplicates new connections: what the client sends goes
                                            to the target a second time, over another connection,
                                            whose answers are dropped
  {"link": PORT, "do": "replay"}            ends mirrors; opens each mirrored connection once more,
                                            sends again all that its client has sent (up to 64 MiB),
                                            and closes it 2 s later
  {"link": PORT, "do": "cut"}               resets (RST) both ends of every connection
  {"link": PORT, "do": "half_open", "keep": "client"|"server"}
                                            resets the other end of every connection and keeps this
                                            one open: reads and drops what arrives there, and sends
                                            nothing. Does the same to new connections
  {"link": PORT, "do": "open"}              ... until now; half-open connections remain so
  {"link": PORT, "do": "count"}             open connections, bytes forwarded and duplicated

TCP never delivers a byte twice, so connections are duplicated: the target gets the same requests again,
at once (mirror) and late (replay). The proxy ends when its standard input does.
"""

import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from tests.harness.proxy_link import Connection, Link, Pipe

COMMANDS = 0  # the standard input's descriptor


class Proxy:
    """All links and the commands, in one thread."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        self._links = {listen: Link(listen, target) for listen, target in pairs}
        self._partial = b""

    def run(self) -> None:
        """Runs until the standard input ends."""
        while True:
            wait = self._flush()
            with selectors.PollSelector() as poll:
                self._register(poll)
                ready = [key for key, _ in poll.select(wait)]
            for key in ready:
                if key.fd == COMMANDS:
                    if not self._take_commands():
                        return
                elif isinstance(key.data, Link):
                    key.data.accept()
                else:
                    for link, connection, pipe in key.data:
                        self._guard(link, connection, pipe.read)

    def _pipes(self) -> Iterator[tuple[Link, Connection, Pipe]]:
        """Yields the pipes of connections that still exist when their turn comes."""
        for link in self._links.values():
            for connection in list(link.connections):
                for pipe in connection.pipes:
                    if connection in link.connections:
                        yield link, connection, pipe

    def _flush(self) -> float | None:
        """Sends what is due; returns the seconds until more is due, or None."""
        waits = []
        for link, connection, pipe in self._pipes():
            if pipe.busy:
                waits.append(self._guard(link, connection, pipe.flush))
            if connection.over:
                link.drop(connection)
        return min((wait for wait in waits if wait is not None), default=None)

    def _register(self, poll: selectors.PollSelector) -> None:
        poll.register(COMMANDS, selectors.EVENT_READ)
        for link in self._links.values():
            poll.register(link.listener, selectors.EVENT_READ, link)
        events: dict[socket.socket, int] = {}
        readers: dict[socket.socket, list[tuple[Link, Connection, Pipe]]] = {}
        for link, connection, pipe in self._pipes():
            if pipe.reads and pipe.source is not None:
                events[pipe.source] = events.get(pipe.source, 0) | selectors.EVENT_READ
                readers.setdefault(pipe.source, []).append((link, connection, pipe))
            if pipe.blocked and pipe.sink is not None:
                events[pipe.sink] = events.get(pipe.sink, 0) | selectors.EVENT_WRITE
        for sock, mask in events.items():
            poll.register(sock, mask, readers.get(sock, []))

    @staticmethod
    def _guard(link: Link, connection: Connection,
               action: Callable[[float], float | None]) -> float | None:
        if connection not in link.connections:
            return None
        try:
            return action(time.monotonic())
        except BlockingIOError:
            return None
        except OSError:
            link.drop(connection)
            return None

    def _take_commands(self) -> bool:
        data = os.read(COMMANDS, 1 << 16)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            request["now"] = time.monotonic()
            print(json.dumps(self._links[request["link"]].command(request)), flush=True)
        return bool(data)


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if len(sys.argv) > 1 else 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it ends it
    pairs = [(int(listen), int(target))
             for listen, target in (word.split(":") for word in sys.argv[1:])]
    proxy = Proxy(pairs)
    print(json.dumps({"ready": True}), flush=True)
    proxy.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
