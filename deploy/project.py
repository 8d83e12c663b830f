# SPDX-License-Identifier: Apache-2.0
"""Where the sources and the programs of the project are, and the error of every script."""

import dataclasses
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
JOBS = ROOT / "deploy/jobs"
RELEASE = ROOT / "build/release"


class Failure(Exception):
    """A command cannot do its work. The message says what is missing or wrong, and what to do."""


@dataclasses.dataclass(frozen=True)
class Binaries:
    """The programs of one build."""
    folder: pathlib.Path  # as in build/release

    @property
    def server(self) -> pathlib.Path:
        """pd-server."""
        return self._find("pd-server", "server/pd-server")

    @property
    def worker(self) -> pathlib.Path:
        """pd-worker."""
        return self._find("pd-worker", "worker/pd-worker")

    @property
    def pdctl(self) -> pathlib.Path:
        """pdctl."""
        return self._find("pdctl", "client/pdctl/pdctl", "client/pdctl")

    @property
    def local(self) -> pathlib.Path:
        """pd-local."""
        return self._find("pd-local", "deploy/local/pd-local")

    def benchmark(self, name: str) -> pathlib.Path:
        """A program of tests/benchmark."""
        return self._find(name, f"tests/benchmark/{name}")

    def _find(self, target: str, *places: str) -> pathlib.Path:
        for place in places:
            if (self.folder / place).is_file():
                return self.folder / place
        raise Failure(f"no {self.folder / places[0]}: expected a build with the program {target}; "
                      f"deploy/build release {target} makes it")
