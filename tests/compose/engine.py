# SPDX-License-Identifier: Apache-2.0
"""The Docker engine that the test uses, and the base image of the Dockerfile."""

import contextlib
import os
import pathlib
import shutil
import time
from collections.abc import Callable

from deploy.project import ROOT
from tests.harness.commands import Word, persistently, run, succeeds
from tests.harness.errors import Failure
from tests.harness.processes import Process

BASE = "debian:bookworm-slim"
STAGE_LABEL = "org.percentdelta.stage"  # of the Dockerfile's build stage
# What makes debian:bookworm-slim of a minimal Debian, as far as it matters here: packages without
# documents, installed without waiting for the disk.
SLIM = {
    "etc/dpkg/dpkg.cfg.d/docker": "path-exclude /usr/share/doc/*\n"
                                  "path-include /usr/share/doc/*/copyright\n"
                                  "path-exclude /usr/share/man/*\n"
                                  "path-exclude /usr/share/locale/*/LC_MESSAGES/*.mo\n",
    "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io\n",
    "etc/apt/apt.conf.d/docker-no-languages": 'Acquire::Languages "none";\n',
}
START_SECONDS = 60
STOP_SECONDS = 30


class Engine(contextlib.ExitStack):
    """Docker's command line. Uses the engine that answers, or else starts one, as root. A context, which
    removes that engine and the images that the test made."""

    def __init__(self, folder: pathlib.Path, may_install: bool, say: Callable[[str], None]) -> None:
        super().__init__()
        self.environment: dict[str, str] = {}  # of docker, for an engine of its own
        self.compose: list[str] = []  # the command, without its files
        self._folder = folder
        self._may_install = may_install
        self._say = say

    def __enter__(self) -> "Engine":
        super().__enter__()
        if self._answers() and self._find_compose():
            self._say("a Docker engine answers")
            return self
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        self._say("the test's own engine is running")
        return self

    def docker(self, *words: Word) -> str:
        """Runs docker; returns its standard output, stripped."""
        return run("docker", *words, environment=self.environment).strip()

    def tries(self, *words: Word) -> bool:
        """Whether a docker command succeeds."""
        return succeeds("docker", *words, environment=self.environment)

    def provide_base(self) -> None:
        """Pulls the base image, or makes it with debootstrap where it cannot be pulled."""
        if self.tries("image", "inspect", BASE) or self.tries("pull", "-q", BASE):
            return
        self._say(f"making {BASE} with debootstrap")
        run(ROOT / "deploy/install-packages", "debootstrap")
        tree = self._folder / "base"

        def make() -> None:
            shutil.rmtree(tree, ignore_errors=True)
            run("debootstrap", "--variant=minbase", "bookworm", tree,
                log=self._folder / "debootstrap.log")

        persistently(make, self._say)
        for waste in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(tree / waste)
        for name, text in SLIM.items():
            (tree / name).write_text(text, encoding="utf-8")
        archive = self._folder / "base.tar"
        run("tar", "-C", tree, "--one-file-system", "-cf", archive, ".")
        self.docker("import", archive, BASE)
        if not self.environment:
            self.callback(self.tries, "rmi", BASE)
        archive.unlink()
        shutil.rmtree(tree)

    def size_of(self, image: str) -> int:
        """Returns the bytes of an image."""
        return int(self.docker("image", "inspect", "--format", "{{.Size}}", image))

    def remove_images(self, names: list[str]) -> None:
        """Removes, at the end, the images of these names and the build stages made from now on, which
        the classic builder leaves as images without a name, from an engine that stays."""
        if self.environment:
            return  # an engine of its own, whose folder goes with them
        before = self._build_stages()

        def remove() -> None:
            for name in names:
                self.tries("rmi", name)
            new = self._build_stages() - before
            if new:
                self.tries("rmi", *new)

        self.callback(remove)

    def _build_stages(self) -> set[str]:
        return set(self.docker("images", "-q", "--no-trunc", "--filter", "dangling=true",
                               "--filter", f"label={STAGE_LABEL}").split())

    def _answers(self) -> bool:
        return shutil.which("docker") is not None and self.tries("info")

    def _find_compose(self) -> bool:
        if self.tries("compose", "version"):
            self.compose = ["docker", "compose"]
        elif shutil.which("docker-compose"):
            self.compose = ["docker-compose"]
        return bool(self.compose)

    def _start(self) -> None:
        if os.geteuid() != 0:
            raise Failure("no Docker engine answers, and starting one needs root")
        if self._may_install:
            run(ROOT / "deploy/install-packages", "docker")
        if not shutil.which("dockerd") or not self._find_compose():
            raise Failure("no Docker engine answers, and dockerd or docker-compose is not "
                          "installed; deploy/install-packages docker installs both")
        host = f"unix://{self._folder}/docker.sock"
        self.environment = {"DOCKER_HOST": host}
        engine = Process("dockerd", [
            "dockerd", "--data-root", self._folder / "engine", "--exec-root",
            self._folder / "exec", "--pidfile", self._folder / "docker.pid", "-H", host],
            self._folder / "dockerd.log")
        self.callback(self._stop, engine)
        engine.start()
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if not engine.runs or time.monotonic() > until:
                raise Failure(f"dockerd: expected an answer within {START_SECONDS} s, got none; exit "
                              f"code {engine.exit_code}\n{engine.tail()}")
            time.sleep(0.2)

    def _stop(self, engine: Process) -> None:
        if engine.runs:
            engine.terminate()
            engine.wait(STOP_SECONDS, "SIGTERM")
        # Builds in the host's network leave this mounted.
        for path in (self._folder / "exec/netns").glob("*"):
            succeeds("umount", path)
