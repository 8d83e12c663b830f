# SPDX-License-Identifier: Apache-2.0
"""Keeps the lease of a slow worker alive while its work progresses: lease_renewer.h in
Python. A process that hangs makes no progress, and so loses its lease."""

from __future__ import annotations

import threading
from typing import Callable, Optional

from percentdelta import _wire
from percentdelta.errors import Error

_RENEWALS_IN_A_DEADLINE = 3


class LeaseRenewer:
    """One thread of its own, which asks for a renewal every third of a lease's deadline if there
    was progress since the last time. Thread-safe. `renew` returns the new deadline in seconds, or
    raises Error: then the next renewal is tried no sooner than without it."""

    def __init__(self, renew: Callable[[_wire.LeaseFields], float]) -> None:
        self._renew = renew
        self._changed = threading.Condition()
        self._lease: Optional[_wire.LeaseFields] = None
        self._progress = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="percentdelta-renewer", daemon=True)
        self._thread.start()

    def begin(self, lease: _wire.LeaseFields) -> None:
        """The lease in hand from now on, until end()."""
        with self._changed:
            self._lease = lease
            self._progress = False
            self._changed.notify()

    def end(self) -> None:
        """There is no lease in hand."""
        with self._changed:
            self._lease = None
            self._changed.notify()

    def progress(self) -> None:
        """The work has progressed."""
        self._progress = True  # of the lease in hand; one write, which needs no lock

    def stop(self) -> None:
        """Ends the thread, in its own time."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        wait = 0.0
        known: Optional[_wire.LeaseFields] = None
        while True:
            with self._changed:
                if not self._stopping and self._lease is known:
                    self._changed.wait(wait if known is not None else None)
                if self._stopping:
                    return
                if self._lease is not known:
                    known = self._lease
                    wait = known.deadline / _RENEWALS_IN_A_DEADLINE if known is not None else 0.0
                    continue
                if known is None or not self._progress:
                    continue
                self._progress = False
            try:
                wait = self._renew(known) / _RENEWALS_IN_A_DEADLINE
            except Error:
                pass  # the work goes on, and its result counts even after the deadline
