# SPDX-License-Identifier: Apache-2.0
"""All faults, dealt in random order, each about as often as the others."""

import pathlib
import random
from collections.abc import Sequence

from tests.faults.certificate_faults import certificate_faults
from tests.faults.disk_faults import disk_faults
from tests.faults.fault import Fault, process_faults
from tests.faults.network_faults import network_faults
from tests.harness.cluster import Layout
from tests.harness.errors import Failure
from tests.harness.network import Namespaces

TRIES = 3  # in a pass; some faults do not strike every time


class Deck:
    """The possible faults, shuffled again for each pass. Same seed, same order."""

    def __init__(self, faults: Sequence[Fault], source: random.Random) -> None:
        self._faults = faults
        self._source = source
        self._waiting: list[Fault] = []
        self._tries: dict[str, int] = {}

    @property
    def next(self) -> Fault:
        """The next fault."""
        if not self._waiting:
            self._waiting = list(self._faults)
            self._tries = {}
            self._source.shuffle(self._waiting)
        return self._waiting[0]

    def fitting(self, layout: Layout) -> Fault | None:
        """Returns the next fault that fits the layout; None if this pass has none left."""
        assert self.next
        return next((fault for fault in self._waiting if fault.fits(layout)), None)

    def struck(self, fault: Fault, counted: bool) -> None:
        """Takes a fault out of the pass; one that did not count may get another turn."""
        self._tries[fault.name] = self._tries.get(fault.name, 0) + 1
        self._waiting.remove(fault)
        if not counted and self._tries[fault.name] < TRIES:
            self._waiting.append(fault)


def all_faults(folder: pathlib.Path) -> tuple[list[Fault], dict[str, str]]:
    """Returns (possible faults, {name of any other: why this machine cannot have it}). May mount a file
    system in `folder` for a moment."""
    faults = process_faults() + network_faults() + certificate_faults() + disk_faults(folder)
    namespaces = Namespaces.unavailable()
    reasons = {}
    for fault in faults:
        reason = namespaces if fault.fixed.get("network") == "namespaces" else fault.unavailable()
        if reason:
            reasons[fault.name] = reason
    return [fault for fault in faults if fault.name not in reasons], reasons


def chosen(faults: Sequence[Fault], only: Sequence[str], but: Sequence[str]) -> list[Fault]:
    """Returns the faults whose names begin with a word of `only` (empty: all) and none of `but`."""
    def named(fault: Fault, words: Sequence[str]) -> bool:
        return any(fault.name.startswith(word) for word in words)
    found = [fault for fault in faults if (not only or named(fault, only)) and not named(fault, but)]
    if not found:
        names = ", ".join(fault.name for fault in faults)
        raise Failure(f"no fault is named {' or '.join(only)} here; there are {names}")
    return found
