"""One line that tells how far it is: on a terminal it is overwritten, elsewhere it is written now and
then."""

import sys
import time
from typing import TextIO

SECONDS = 20  # from one line to the next where they stay
WIDTH = 100


class Progress:
    """Counts what it is told."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._began = time.monotonic()
        self._said = 0.0
        self._count = 0
        self._most = ""
        self._until: float | None = None

    def expect(self, most: float, until: float) -> None:
        """How many faults are to come, and until when (monotonic); infinite: not known."""
        self._most = f" of {most}" if most != float("inf") else ""
        self._until = until if until != float("inf") else None

    def say(self, text: str) -> None:
        """The newest that is known."""
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
        """There will be no more."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()
