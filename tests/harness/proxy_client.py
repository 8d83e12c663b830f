# SPDX-License-Identifier: Apache-2.0
"""The proxy's process, and its commands as calls."""

import json
import select
import subprocess
import sys
from collections.abc import Sequence

from deploy.project import ROOT
from tests.harness.errors import Failure

PROGRAM = "tests.harness.proxy"
PATIENCE_SECONDS = 20

Counts = dict[str, int]  # open connections, bytes forwarded, bytes duplicated


class Proxy:
    """A proxy for some pairs of ports (listening, target). A context, which ends its process."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        words = [f"{listen}:{target}" for listen, target in pairs]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-B", "-m", PROGRAM, *words], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout
        self._answer()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def close(self) -> None:
        """Ends it, and with it every connection."""
        self._process.kill()
        self._process.wait()
        self._commands.close()
        self._answers.close()

    def set(self, link: int, **settings: float | bool) -> Counts:
        """Sets delay, rate or mirror of a link, named by its listening port."""
        return self._ask({"link": link, "set": settings})

    def cut(self, link: int) -> Counts:
        """Resets every connection."""
        return self._ask({"link": link, "do": "cut"})

    def half_open(self, link: int, keep: str) -> Counts:
        """Makes every connection half open; `keep` is the end that does not notice."""
        return self._ask({"link": link, "do": "half_open", "keep": keep})

    def open(self, link: int) -> Counts:
        """Ends half_open() for new connections."""
        return self._ask({"link": link, "do": "open"})

    def replay(self, link: int) -> Counts:
        """Ends mirrors, and sends again what their clients have sent."""
        return self._ask({"link": link, "do": "replay"})

    def count(self, link: int) -> Counts:
        """Returns open connections, bytes forwarded, bytes duplicated."""
        return self._ask({"link": link, "do": "count"})

    def _ask(self, request: dict[str, object]) -> Counts:
        self._commands.write(json.dumps(request) + "\n")
        self._commands.flush()
        return self._answer()

    def _answer(self) -> Counts:
        ready, _, _ = select.select([self._answers], [], [], PATIENCE_SECONDS)
        line = self._answers.readline() if ready else ""
        if not line:
            raise Failure(f"the proxy has not answered within {PATIENCE_SECONDS} s")
        answer: Counts = json.loads(line)
        return answer
