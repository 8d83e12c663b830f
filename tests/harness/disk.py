# SPDX-License-Identifier: Apache-2.0
"""The file system of the checkpoints: a directory on the disk, or a small tmpfs that can be filled and
made read-only. Contexts, which leave nothing behind."""

import os
import pathlib
import subprocess

from tests.harness.errors import Failure

SMALL_BYTES = 256 << 20  # some checkpoints of 26 MB


class Disk:
    """An ordinary directory."""

    name = "disk"

    def __init__(self, folder: pathlib.Path) -> None:
        self.directory = pathlib.Path(folder) / "checkpoints"

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class SmallDisk:
    """A directory on a tmpfs."""

    name = "tmpfs"

    def __init__(self, folder: pathlib.Path) -> None:
        self._mount = pathlib.Path(folder) / "tmpfs"
        self.directory = self._mount / "checkpoints"
        self._filler = self._mount / "filler"

    @staticmethod
    def unavailable(folder: pathlib.Path) -> str:
        """Why it is not possible on this machine; empty if it is."""
        try:
            with SmallDisk(folder):
                return ""
        except Failure as failure:
            return str(failure)

    def __enter__(self) -> "SmallDisk":
        self._mount.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES},mode=700", "pd-faults", self._mount)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self._mount], check=False, stderr=subprocess.DEVNULL)

    def fill(self) -> None:
        """Fills it to the last byte."""
        with self._filler.open("wb") as filler:
            chunk = bytes(1 << 20)
            while chunk:
                try:
                    os.write(filler.fileno(), chunk)
                except OSError:
                    chunk = chunk[:len(chunk) // 2]

    def free(self) -> None:
        """Removes what fill() wrote."""
        self._filler.unlink()

    def make_read_only(self) -> bool:
        """Returns false while a process writes to it."""
        return self._remount("ro")

    def make_writable(self) -> None:
        """Undoes make_read_only()."""
        if not self._remount("rw"):
            raise Failure(f"cannot make {self._mount} writable again")

    def _remount(self, mode: str) -> bool:
        return subprocess.run(["mount", "-o", f"remount,{mode}", self._mount], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0


def _run(*words: str | pathlib.Path) -> None:
    result = subprocess.run([str(word) for word in words], check=False, capture_output=True,
                            text=True)
    if result.returncode != 0:
        raise Failure(f"{words[0]}: {(result.stderr or result.stdout).strip()}")
