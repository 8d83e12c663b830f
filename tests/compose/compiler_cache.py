# SPDX-License-Identifier: Apache-2.0
"""Serves the host's objects of the same sources to the image's build.

A cold build spends most of its time in the compiler, and the tests before this one have compiled the
same sources on this machine. The Dockerfile's build stage installs ccache, which looks objects up by
the hash of the preprocessed source, the flags and the compiler: it finds an object only if its own
compiler would make the same. All else of the Dockerfile runs as for a user; --cold leaves the cache
out.
"""

import contextlib
import http.server
import pathlib
import re
import threading
import types

from deploy.project import ROOT, Binaries
from tests.harness.commands import run
from tests.harness.ports import HOST

FOLDER = ROOT / "build/compose"
TARGETS = ("pd-server", "pd-worker", "pdctl", "pd-local")


class CompilerCache(contextlib.AbstractContextManager["CompilerCache"]):
    """Objects, in files named by their hashes, and an HTTP server for them on 127.0.0.1. A context."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._objects = folder / "objects"
        self._objects.mkdir()
        self._log = folder / "build-host.log"
        objects = self._objects
        self.asked = self.found = 0
        cache = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers ccache, which only reads."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802  (the name that http.server calls)
                """Sends an object, or 404."""
                name = self.path.lstrip("/")
                path = objects / name
                cache.asked += 1
                if not re.fullmatch(r"[0-9a-z]+", name) or not path.is_file():
                    self.send_response(404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                cache.found += 1
                content = path.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Logs nothing."""

        self._server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> "CompilerCache":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def build_host(self) -> Binaries:
        """Builds the image's programs on the host, mostly from the host's ccache, and keeps their
        objects for the image. Returns the programs."""
        run("cmake", "--preset", "release", "-S", ROOT, "-B", FOLDER, "-DBUILD_TESTING=OFF",
            log=self._log)
        # Locale and base directory as in deploy/build. Cleans first: only what is compiled gets into the
        # cache.
        run("env", "-u", "LC_ALL", "-u", "LC_CTYPE", "-u", "LC_MESSAGES", "LANG=C.UTF-8",
            f"CCACHE_BASEDIR={ROOT}", "CCACHE_RESHARE=true",
            f"CCACHE_REMOTE_STORAGE=file:{self._objects}|layout=flat",
            "cmake", "--build", FOLDER, "--clean-first", "--target", *TARGETS, log=self._log)
        return Binaries(FOLDER)

    @property
    def storage(self) -> str:
        """The Dockerfile's argument CCACHE_REMOTE_STORAGE."""
        return f"http://{HOST}:{self._server.server_address[1]}|layout=flat|read-only"

    def compose_file(self) -> str:
        """Returns the Compose file that makes the images' build use the cache."""
        build = f'{{build: {{network: host, args: {{CCACHE_REMOTE_STORAGE: "{self.storage}"}}}}}}'
        return "services:\n" + "".join(
            f"  {service}: {build}\n" for service in ("data", "certificates", "server-0",
                                                      "server-1", "worker", "pdctl"))
