# SPDX-License-Identifier: Apache-2.0
"""A line that shows the progress: overwritten on a terminal, elsewhere written every 20 seconds."""

import sys
import time
from typing import TextIO

SECONDS = 20  # between lines, if not on a terminal
WIDTH = 100


class Progress:
    """The line."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._began = time.monotonic()
        self._said = 0.0
        self._count = 0
        self._most = ""
        self._until: float | None = None

    def expect(self, most: float, until: float) -> None:
        """Sets the number of faults to come, and the end (monotonic); infinite if not known."""
        self._most = f" of {most}" if most != float("inf") else ""
        self._until = until if until != float("inf") else None

    def say(self, text: str) -> None:
        """Shows a fault."""
        if not text.startswith("undisturbed"):
            self._count += 1
        now = time.monotonic()
        left = f", {max(0, self._until - now) / 60:.0f} min left" if self._until else ""
        line = f"{self._count}{self._most} faults, {(now - self._began) / 60:.1f} min{left}: {text}"
        if self._terminal:
            self._stream.write(f"\r{line[:WIDTH]}\033[K")
        elif now - self._said < SECONDS and self._said:
            return
        else:
            self._stream.write(f"{line}\n")
        self._said = now
        self._stream.flush()

    def end(self) -> None:
        """Ends the line."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()
