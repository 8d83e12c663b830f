# SPDX-License-Identifier: Apache-2.0
"""Repeats calls while they fail with errors that pass: retrying_stub.cc in Python."""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
import time
from typing import Callable, TypeVar

from percentdelta import errors
from percentdelta.errors import Error, UnavailableError

_T = TypeVar("_T")
_log = logging.getLogger("percentdelta")

# In seconds: an outage that is over sooner, as when a cluster begins, is not worth a warning.
_SILENCE = 1.0


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """In seconds. Pauses double from the first to the longest, each shortened at random by up to a
    half; a call gives up when it has failed for `give_up_after`. 0: it is not repeated."""

    first_pause: float = 0.05
    longest_pause: float = 2.0
    give_up_after: float = 5.0


class Stopped(Exception):
    """Retries were stopped."""


class Pause:
    """A pause that another thread may cut short: once cut, pauses end at once."""

    def __init__(self) -> None:
        self._cut = threading.Event()

    def take(self, seconds: float) -> None:
        """Returns after `seconds`, or when cut() is called."""
        self._cut.wait(seconds)

    def cut(self) -> None:
        """Ends the pause that is being taken, and all later ones."""
        self._cut.set()


class Retrier:
    """Of the calls to one server. Thread-safe. `what`: in messages, as in "the coordinator"."""

    def __init__(self, what: str, address: str, policy: RetryPolicy, pause: Pause,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._address = address
        self._policy = policy
        self._pause = pause
        self._clock = clock
        self._answered = False  # the server is known to be ours
        self._stopped = False

    def stop(self) -> None:
        """Calls that fail are not made again from now on."""
        self._stopped = True
        self._pause.cut()

    def call(self, attempt: Callable[[], _T]) -> _T:
        """Returns what `attempt` does. Raises its last error, UnavailableError after too long, or
        Stopped."""
        began = self._clock()
        pause = self._policy.first_pause
        said = False
        while True:
            try:
                answer = attempt()
            except Error as error:
                if not self._passes(error) or self._policy.give_up_after <= 0:
                    raise
                failure = error
            else:
                self._answered = True
                if said:
                    _log.info("%s at %s answers again", self._what, self._address)
                return answer
            if self._stopped:
                raise Stopped
            if not said and self._clock() - began >= _SILENCE:
                _log.warning("waiting for %s at %s: %s", self._what, self._address, failure)
                said = True
            if self._clock() - began > self._policy.give_up_after:
                raise UnavailableError(
                    f"{self._what} at {self._address} has not answered for "
                    f"{self._policy.give_up_after:g} s; the last error: {failure}") from failure
            self._pause.take(pause * random.uniform(0.5, 1))  # workers must not return all at once
            if self._stopped:
                raise Stopped
            pause = min(2 * pause, self._policy.longest_pause)

    def _passes(self, error: Error) -> bool:
        return errors.is_transient(error) or (self._answered and errors.is_foreign(error))
