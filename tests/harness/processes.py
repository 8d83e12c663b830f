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
    """A program of the cluster, through all its incarnations. Their output goes to one file.

    It must run while `down` is false: whoever ends it on purpose sets that, and start() unsets it.
    """

    def __init__(self, name: str, command: Sequence[str | pathlib.Path], log: pathlib.Path,
                 prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.down = True
        self.incarnations = 0
        self.started_at = 0.0  # monotonic
        self.log = pathlib.Path(log)
        # It dies with the harness, however that ends.
        self._command = [*prefix, "setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]
        self._environment = {**os.environ, **(environment or {})}
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Starts it, with more flags than the usual."""
        if self._popen is not None and self._popen.poll() is None:
            raise Failure(f"{self.name} runs already")
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is the harness's, which ends it in good order.
            self._popen = subprocess.Popen([*self._command, *more], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, env=self._environment,
                                           start_new_session=True)
        self.down = False
        self.incarnations += 1
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the present incarnation."""
        assert self._popen is not None, "it was never started"
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 when it was killed."""
        return self._popen.poll() if self._popen is not None else None

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it has been stopped, as by SIGSTOP."""
        return self.runs and _stat_state(self.pid) == "T"

    def signal(self, number: int) -> None:
        """Sends a signal, if it is there to get it."""
        if self._popen is not None and self.runs:
            self._popen.send_signal(number)

    def kill(self) -> int | None:
        """Ends it with SIGKILL, and sees to it that this is what ended it."""
        self.down = True
        self.signal(signal.SIGKILL)
        return self._popen.wait() if self._popen is not None else None

    def stop(self) -> None:
        """Stops it, and waits until it has."""
        self.signal(signal.SIGSTOP)
        until = time.monotonic() + 5
        while self.runs and not self.stopped and time.monotonic() < until:
            time.sleep(POLL_SECONDS)

    def resume(self) -> None:
        """Lets it go on."""
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Asks it to end."""
        self.down = True
        self.signal(signal.SIGTERM)

    def wait(self, limit: float, what: str) -> int:
        """Waits until it has ended; returns the exit code."""
        assert self._popen is not None, "it was never started"
        try:
            return self._popen.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            raise Violation(f"{self.name} (pid {self.pid}) has not ended {limit} s after {what}"
                            f"\n{self.tail()}") from None

    def close(self) -> None:
        """Ends it, whatever it does."""
        if self._popen is not None:
            self.kill()

    def log_size(self) -> int:
        """To be given to log_since() later."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_since(self, offset: int = 0) -> str:
        """What it has written since."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """Its last lines, for a report."""
        lines = self.log_since(max(0, self.log_size() - 20000)).splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(f"    {self.name}: {line}" for line in lines)


def check_killed(process: Process) -> None:
    """Waits for the end of a process that has been killed, or has killed itself."""
    code = process.wait(10, "SIGKILL")
    if code != -signal.SIGKILL:
        raise Violation(f"{process.name}: expected to be ended by SIGKILL, got exit code {code}"
                        f"\n{process.tail()}")


class Sample:
    """What a process holds: resident bytes, threads, descriptors."""

    def __init__(self, pid: int) -> None:
        fields = dict(line.split(":", 1) for line in
                      pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        self.rss = 1024 * int(fields["VmRSS"].split()[0])
        self.threads = int(fields["Threads"])
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))


def sample(process: Process) -> Sample | None:
    """Its Sample; None if it is not there."""
    try:
        return Sample(process.pid) if process.runs else None
    except (OSError, KeyError):
        return None  # it has just died


def _stat_state(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
