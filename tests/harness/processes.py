# SPDX-License-Identifier: Apache-2.0
"""Processes that are started, killed, stopped and started again with the same command line."""

import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from tests.harness.errors import Failure, Violation

POLL_SECONDS = 0.005
LOG_TAIL_LINES = 12


class Process:
    """A program, through all its incarnations. Their output goes to one file.

    It must run while `down` is false: set that before ending it on purpose; start() clears it.
    """

    def __init__(self, name: str, command: Sequence[str | pathlib.Path], log: pathlib.Path,
                 prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.down = True
        self.incarnations = 0
        self.started_at = 0.0  # monotonic
        self.log = pathlib.Path(log)
        # It dies with the harness, also if that is killed.
        self._command = [*prefix, "setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]
        self._environment = {**os.environ, **(environment or {})}
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Starts it, with further flags."""
        if self._popen is not None and self._popen.poll() is None:
            raise Failure(f"{self.name} runs already")
        with self.log.open("ab") as log:
            # In its own session: only the harness gets Ctrl-C, and ends it in order.
            self._popen = subprocess.Popen([*self._command, *more], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, env=self._environment,
                                           start_new_session=True)
        self.down = False
        self.incarnations += 1
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the current incarnation."""
        assert self._popen is not None, "it was never started"
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 when it was killed."""
        return self._popen.poll() if self._popen is not None else None

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it has been stopped, as by SIGSTOP."""
        return self.runs and _stat_state(self.pid) == "T"

    def signal(self, number: int) -> None:
        """Sends a signal if it runs."""
        if self._popen is not None and self.runs:
            self._popen.send_signal(number)

    def kill(self) -> int | None:
        """Ends it with SIGKILL; returns the exit code."""
        self.down = True
        self.signal(signal.SIGKILL)
        return self._popen.wait() if self._popen is not None else None

    def stop(self) -> None:
        """Stops it with SIGSTOP, and waits until it has stopped."""
        self.signal(signal.SIGSTOP)
        until = time.monotonic() + 5
        while self.runs and not self.stopped and time.monotonic() < until:
            time.sleep(POLL_SECONDS)

    def resume(self) -> None:
        """Continues it with SIGCONT."""
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.down = True
        self.signal(signal.SIGTERM)

    def wait(self, limit: float, what: str) -> int:
        """Waits until it has ended; returns the exit code. Throws Violation after `limit` seconds."""
        assert self._popen is not None, "it was never started"
        try:
            return self._popen.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            raise Violation(f"{self.name} (pid {self.pid}) has not ended {limit} s after {what}"
                            f"\n{self.tail()}") from None

    def close(self) -> None:
        """Kills it if it runs."""
        if self._popen is not None:
            self.kill()

    def log_size(self) -> int:
        """Returns an offset for log_since()."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_since(self, offset: int = 0) -> str:
        """Returns its output from an offset."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """Returns its last lines, for a report."""
        lines = self.log_since(max(0, self.log_size() - 20000)).splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(f"    {self.name}: {line}" for line in lines)


def check_killed(process: Process) -> None:
    """Waits for the end of a process that was killed, or killed itself. Throws Violation if it ended
    otherwise."""
    code = process.wait(10, "SIGKILL")
    if code != -signal.SIGKILL:
        raise Violation(f"{process.name}: expected to be ended by SIGKILL, got exit code {code}"
                        f"\n{process.tail()}")


class Sample:
    """The resources of a process: resident bytes, threads, descriptors."""

    def __init__(self, pid: int) -> None:
        fields = dict(line.split(":", 1) for line in
                      pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        self.rss = 1024 * int(fields["VmRSS"].split()[0])
        self.threads = int(fields["Threads"])
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))


def sample(process: Process) -> Sample | None:
    """Returns its Sample; None if it does not run."""
    try:
        return Sample(process.pid) if process.runs else None
    except (OSError, KeyError):
        return None  # it has just died


def _stat_state(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
