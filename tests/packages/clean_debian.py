# SPDX-License-Identifier: Apache-2.0
"""A clean Debian in a folder, which systemd runs in namespaces of its own."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

from tests.harness.commands import Word, persistently, run, tail
from tests.harness.errors import Failure, Violation
from tests.harness.processes import Process

BOOT_SECONDS = 60
END_SECONDS = 20
POLL_SECONDS = 0.1
INIT = "systemd,systemd-sysv"
# No waiting for the disk; no services while packages are installed.
FILES = {
    "etc/dpkg/dpkg.cfg.d/unsafe-io": "force-unsafe-io\n",
    "etc/apt/apt.conf.d/no-languages": 'Acquire::Languages "none";\n',
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}


class CleanDebian(contextlib.ExitStack):
    """Debian 12 of debootstrap. A context, which ends its processes; the folder stays."""

    def __init__(self, folder: pathlib.Path, say: Callable[[str], None]) -> None:
        super().__init__()
        self.root = folder / "debian"
        self._folder = folder
        self._say = say
        self._init = 0  # the process that is 1 inside

    def make(self) -> None:
        """Makes the folder."""

        def bootstrap() -> None:
            shutil.rmtree(self.root, ignore_errors=True)
            run("debootstrap", "--variant=minbase", f"--include={INIT}", "bookworm", self.root,
                log=self._folder / "debootstrap.log")

        persistently(bootstrap, self._say)
        for name, text in FILES.items():
            path = self.root / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", self.root / "etc" / name)

    def install(self, packages: list[pathlib.Path], *more: str) -> None:
        """Installs packages, with their dependencies from Debian, before start()."""
        (self.root / "packages").mkdir(exist_ok=True)
        for package in packages:
            shutil.copy(package, self.root / "packages")
        names = [f"/packages/{package.name}" for package in packages]
        persistently(lambda: self.chroot(
            "apt-get", "-qq", "-y", "-o", "Dpkg::Use-Pty=0", "install", "--no-install-recommends",
            *names, *more), self._say)

    def chroot(self, *words: Word) -> str:
        """Runs a command in the folder, without systemd."""
        return run("unshare", "--mount", "--pid", "--fork", "--mount-proc", f"--root={self.root}",
                   *words, environment={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})

    def start(self) -> None:
        """Starts systemd, and waits until it has started everything."""
        system = Process("systemd-nspawn", [
            "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
            "--private-network", "--resolv-conf=off", "--link-journal=no", "--console=pipe",
            f"--machine=pd-packages-{os.getpid()}", f"--directory={self.root}"],
            self._folder / "boot.log")
        self.callback(self._stop, system)
        system.start()
        until = time.monotonic() + BOOT_SECONDS
        while True:
            self._init = self._init or _systemd_under(system.pid)
            state = self.try_run("systemctl", "is-system-running") if self._init else ""
            if state.strip() in ("running", "degraded"):
                return
            if not system.runs or time.monotonic() > until:
                raise Failure(f"systemd did not start in the clean Debian: {state.strip()}\n"
                              f"{system.tail()}")
            time.sleep(POLL_SECONDS)

    def run(self, *words: Word) -> str:
        """Runs a command as root next to systemd; returns its output."""
        return run(*self._inside(), *words)

    def try_run(self, *words: Word) -> str:
        """The same, whatever the exit code."""
        return subprocess.run([*self._inside(), *map(str, words)], check=False, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT).stdout

    def journal(self) -> str:
        """The last lines of the services."""
        return tail(self.try_run("journalctl", "--no-pager", "-o", "cat", "-u", "percentdelta-*"))

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._init}", "--all", "--root", "--wdns=/", "--", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]

    def _stop(self, system: Process) -> None:
        if self._init and system.runs:
            with contextlib.suppress(ProcessLookupError, Violation):
                os.kill(self._init, signal.SIGRTMIN + 3)  # halt
                system.wait(END_SECONDS, "the halt")
        system.terminate()
        with contextlib.suppress(Violation):
            system.wait(END_SECONDS, "SIGTERM")
        system.close()


def _systemd_under(process: int) -> int:
    """The child of systemd-nspawn that has become systemd; 0: there is none yet."""
    try:
        for child in pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split():
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
    except OSError:
        pass
    return 0
