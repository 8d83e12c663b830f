# SPDX-License-Identifier: Apache-2.0
"""Commands that run to their end, and whose failure ends the test with their last lines."""

import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from tests.harness.errors import Failure

TAIL_LINES = 40
TRIES = 3  # of what depends on package servers, which may fail for a moment
PAUSE_SECONDS = 10  # before the second try; twice as long before the third

Word = str | pathlib.Path


def run(*words: Word, environment: Mapping[str, str] | None = None,
        log: pathlib.Path | None = None) -> str:
    """Runs a command and returns its standard output, or writes all output to `log` and returns "".
    Throws Failure, with the end of its output, if it ends with another exit code than 0."""
    command = [str(word) for word in words]
    settings = {**os.environ, **(environment or {})}
    if log is None:
        result = subprocess.run(command, check=False, text=True, errors="replace", env=settings,
                                stdin=subprocess.DEVNULL, capture_output=True)
        code, output, said = result.returncode, result.stdout, result.stderr or result.stdout
    else:
        with log.open("w", encoding="utf-8") as file:
            code = subprocess.run(command, check=False, env=settings, stdin=subprocess.DEVNULL,
                                  stdout=file, stderr=subprocess.STDOUT).returncode
        output, said = "", log.read_text(encoding="utf-8", errors="replace")
    if code != 0:
        raise Failure(f"{' '.join(command)}: exit code {code}\n{tail(said)}")
    return output


def succeeds(*words: Word, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a command ends with exit code 0. Its output is dropped."""
    return subprocess.run([str(word) for word in words], check=False, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def persistently(action: Callable[[], object], say: Callable[[str], None]) -> None:
    """Calls `action` up to three times, until it throws no Failure."""
    for attempt in range(1, TRIES):
        try:
            action()
            return
        except Failure as failure:
            pause = PAUSE_SECONDS * attempt
            say(f"failed, trying again in {pause} s: {str(failure).splitlines()[0]}")
            time.sleep(pause)
    action()


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a text, indented."""
    chosen: Sequence[str] = text.strip().splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in chosen)
