# SPDX-License-Identifier: Apache-2.0
"""Discrete events, and the one kind of resource that the simulator knows.

Deterministic: events of the same time happen in the order in which they were planned.
"""

import heapq
import itertools
from collections.abc import Callable

Action = Callable[[], object]  # what it returns is dropped

NOTHING = 1e-9  # seconds: what would end within this time ends now; more than rounding errors


class Clock:
    """The time in seconds, and the events to come."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Action]] = []
        self._number = itertools.count()

    def at(self, time: float, action: Action) -> None:
        """Calls `action` at the time."""
        heapq.heappush(self._events, (time, next(self._number), action))

    def after(self, seconds: float, action: Action) -> None:
        """Calls `action` after some seconds."""
        self.at(self.now + seconds, action)

    def run(self, until: Callable[[], bool]) -> bool:
        """Runs events until `until()` is true or none is left; returns whether it is true."""
        while not until():
            if not self._events:
                return False
            self.now, _, action = heapq.heappop(self._events)
            action()
        return True


class FairShare:
    """A resource that its users share equally: cores or a network interface.

    A job holds one or more shares; each share is worked on at the same rate, `capacity` / shares,
    but no faster than `limit`. A core works on one thread: capacity = cores, limit = 1. The bytes
    of a single flow may use the whole interface: capacity = limit = bytes per second.

    All shares progress at the same rate, so one number is the progress of each (`_done`), and a job ends
    when that reaches the number set when the job began.
    """

    def __init__(self, clock: Clock, capacity: float, limit: float) -> None:
        self._clock = clock
        self._capacity = capacity
        self._limit = limit
        self._jobs: list[tuple[float, int, int, Action]] = []  # heap of (end, number, shares, action)
        self._shares = 0
        self._number = itertools.count()
        self._done = 0.0  # work on a share since the resource was last idle...
        self._at = 0.0  # ...at this time
        self._planned: float | None = None  # when to look for ended jobs; may be too early
        self.work_done = 0.0  # of all jobs begun so far

    def start(self, work: float, shares: int, action: Action) -> None:
        """Begins a job of some work; calls `action` when it is done."""
        self._advance()
        heapq.heappush(self._jobs, (self._done + work / shares, next(self._number), shares, action))
        self._shares += shares
        self.work_done += work
        self._plan()

    def _rate(self) -> float:
        return min(self._limit, self._capacity / self._shares)

    def _advance(self) -> None:
        now = self._clock.now
        if self._shares:
            self._done += (now - self._at) * self._rate()
        else:
            self._done = 0.0
        self._at = now

    def _plan(self) -> None:
        if not self._jobs:
            self._planned = None
            return
        time = self._clock.now + max(0.0, self._jobs[0][0] - self._done) / self._rate()
        if self._planned is None or time < self._planned:
            self._planned = time
            self._clock.at(time, lambda: self._look(time))

    def _look(self, time: float) -> None:
        if time != self._planned:
            return  # an earlier look was planned meanwhile
        self._planned = None
        self._advance()
        jobs = self._jobs
        limit = self._done + self._rate() * NOTHING
        ended = []
        while jobs and jobs[0][0] <= limit:
            _, _, shares, action = heapq.heappop(jobs)
            self._shares -= shares
            ended.append(action)
        self._plan()
        for action in ended:
            action()
