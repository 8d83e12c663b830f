# SPDX-License-Identifier: Apache-2.0
"""Waiting for what becomes true, and for the status of a training."""

import abc
import time
from collections.abc import Callable
from typing import TypeVar

from tests.harness.errors import Violation
from tests.harness.status import Status

PATIENCE_SECONDS = 240  # what takes 20 s on an idle machine may take minutes on a busy one
POLL_SECONDS = 0.2

T = TypeVar("T")


def wait_for(get: Callable[[], T | None], what: str, limit: float = PATIENCE_SECONDS,
             report: Callable[[], object] | None = None) -> T:
    """Returns the first value that is not None or false. Throws Violation after `limit` seconds, with
    `what` was waited for, and what `report` returns."""
    end = time.monotonic() + limit
    while not (value := get()):
        if time.monotonic() > end:
            raise Violation(f"waited {limit:g} s for {what}" + (f"; {report()}" if report else ""))
        time.sleep(POLL_SECONDS)
    return value


class WatchedTraining(abc.ABC):
    """A training whose status can be asked for."""

    wait = staticmethod(wait_for)

    @abc.abstractmethod
    def look(self) -> Status | None:
        """Returns the status; None if the coordinator does not answer."""

    def status(self) -> Status:
        """Returns the status as soon as the coordinator answers."""
        return self.until(lambda _: True, "an answer to pdctl status")

    def until(self, condition: Callable[[Status], bool], what: str,
              limit: float = PATIENCE_SECONDS) -> Status:
        """Waits for a status that fulfils the condition, and returns it. Throws Violation after `limit`
        seconds."""

        def fitting() -> Status | None:
            status = self.look()
            return status if status is not None and condition(status) else None

        return wait_for(fitting, what, limit,
                        lambda: f"pdctl status: {self.look() or 'no answer'}")
