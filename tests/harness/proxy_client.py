"""The proxy's process, and its commands as calls."""

import json
import select
import subprocess
import sys

from deploy.project import ROOT
from tests.harness.errors import Failure

PROGRAM = "tests.harness.proxy"
PATIENCE_SECONDS = 20


class Proxy:
    """A proxy for some pairs of ports (listening, target). A context; ends its process with it."""

    def __init__(self, pairs):
        words = [f"{listen}:{target}" for listen, target in pairs]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-B", "-m", PROGRAM, *words], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def pid(self):
        """Of its process."""
        return self._process.pid

    def close(self):
        """Ends it, and with it every connection."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def set(self, link, **settings):
        """Delay, rate or mirror of a link, which is named by its listening port."""
        return self._ask({"link": link, "set": settings})

    def cut(self, link):
        """Resets every connection."""
        return self._ask({"link": link, "do": "cut"})

    def half_open(self, link, keep):
        """Makes every connection half open; `keep` is the end that does not notice."""
        return self._ask({"link": link, "do": "half_open", "keep": keep})

    def open(self, link):
        """Lets new connections be whole again."""
        return self._ask({"link": link, "do": "open"})

    def replay(self, link):
        """Ends mirrors, and sends once more what their clients have sent."""
        return self._ask({"link": link, "do": "replay"})

    def count(self, link):
        """Open connections, bytes forwarded, bytes duplicated."""
        return self._ask({"link": link, "do": "count"})

    def _ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise Failure("the proxy does not answer")
        return json.loads(line)
