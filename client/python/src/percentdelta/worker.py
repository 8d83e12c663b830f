# SPDX-License-Identifier: Apache-2.0
"""A worker for gradients of any origin: leases a batch, pulls the weights of its step, pushes the
gradient, forgets everything. What the C++ worker does, with the computation left to the
caller."""

from __future__ import annotations

import logging
import os
import platform
import random
import signal
import socket
import threading
import time
from typing import Any, Iterator, Mapping, Optional, Type

import numpy as np

from percentdelta._channel import check_address
from percentdelta._retry import Stopped
from percentdelta._security import Path, Security
from percentdelta._session import Options, Session
from percentdelta._text import quoted
from percentdelta.errors import (InvalidArgumentError, TrainingFailedError, UnavailableError,
                                 UsageError)
from percentdelta.job import Job
from percentdelta.lease import Lease

_log = logging.getLogger("percentdelta")

_MAX_ARITHMETIC_BYTES = 256


def default_arithmetic() -> str:
    """How this process computes with NumPy, as far as it is known: version and processor type."""
    return f"numpy-{np.__version__}/{platform.machine()}"


def _check_arithmetic(arithmetic: str) -> None:
    """As common/base/text.h does."""
    size = len(arithmetic.encode("utf-8", "surrogatepass"))
    if size > _MAX_ARITHMETIC_BYTES:
        raise InvalidArgumentError(f"arithmetic: expected at most {_MAX_ARITHMETIC_BYTES} bytes, "
                                   f"got {size}")
    if not all(" " <= character < "\x7f" for character in arithmetic):
        raise InvalidArgumentError(f"arithmetic: expected printable ASCII, got "
                                   f"{quoted(arithmetic)}")


def _default_name() -> str:
    return f"{socket.gethostname()[:80]}-{os.getpid()}-{random.getrandbits(24):06x}"


class Worker:
    """An iterator over the leases of the cluster whose coordinator is at `address` (HOST:PORT).

        with percentdelta.Worker("127.0.0.1:5000") as worker:
            for lease in worker:
                with lease:
                    weights = lease.pull()
                    ...

    The loop ends when the training is finished, when its cluster is drained (Client.drain), or
    after stop(). Connects with the first lease, or when `job` is read. While servers restart it
    waits and goes on in the new generation.

    name           in logs and in the coordinator's count; different workers have different ones.
                   None: host name, process id and a number
    arithmetic     how the gradients are computed, in at most 256 printable ASCII characters: all
                   that may change their last bits (libraries, device, threads, instruction set). A
                   cluster takes workers of one arithmetic only, so that the weights do not depend
                   on which worker computed, unless its job has any_arithmetic. None: NumPy's
                   version and the type of processor
    data           fingerprint of the data, such as a SHA-256: one cluster, one data set. "": not
                   said
    give_up_after  how long, in seconds, the cluster, or a part of it, may be out of reach
    drain          on SIGTERM: how long, in seconds, the lease in hand may still take
    prefetch       pulls the next step's weights during the push, which takes another copy of the
                   model. None: if that is no more than 256 MB
    shared_memory  exchanges weights and gradients with servers on this machine by shared memory,
                   where they can see this process. Gradients are copied there, unless they are
                   computed into the arrays of Lease.gradient()
    connect_to     see Client
    handle_sigterm whether `with` turns SIGTERM into stop() (in the main thread only); a second one
                   hands the lease back and ends the process with exit code 143
    tls_ca, tls_cert, tls_key, token_file, insecure
                   see Client

    Raises, from the loop and from `job`:
        TrainingFailedError      the training failed; the message says why
        FailedPreconditionError  another arithmetic or other data than the first worker's, another
                                 job than before; or sent away, for it failed at what others could
                                 do
        InvalidArgumentError     the address, the name or the arithmetic is not valid
        UnavailableError         out of reach for too long

    An exception in the body of the loop hands the lease back and leaves the loop. Used by one
    thread; stop() and abandon() may be called from any.
    """

    def __init__(self, address: str, *, name: Optional[str] = None,
                 arithmetic: Optional[str] = None, data: str = "", give_up_after: float = 600.0,
                 drain: float = 5.0, prefetch: Optional[bool] = None, shared_memory: bool = True,
                 connect_to: Optional[Mapping[str, str]] = None,
                 handle_sigterm: bool = True,
                 tls_ca: Optional[Path] = None, tls_cert: Optional[Path] = None,
                 tls_key: Optional[Path] = None, token_file: Optional[Path] = None,
                 insecure: bool = False) -> None:
        self.address = check_address("address", address)
        self.name = _default_name() if name is None else name
        self.arithmetic = default_arithmetic() if arithmetic is None else arithmetic
        _check_arithmetic(self.arithmetic)
        self._session = Session(Options(
            address, self.name, self.arithmetic, data, give_up_after, prefetch, shared_memory,
            dict(connect_to or {}), Security(tls_ca, tls_cert, tls_key, token_file, insecure)))
        self._lease: Optional[Lease] = None  # in hand
        self._drain = drain
        self._handle_sigterm = handle_sigterm
        self._previous_handler: Any = None
        self._signals = 0
        self.finished = False  # the loop has ended because the training has
        self.drained = False  # the loop has ended because the servers do; the training continues

    def __enter__(self) -> Worker:
        if self._handle_sigterm and threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGTERM, self._on_sigterm)
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, trace: object) -> None:
        try:
            self.close()
        finally:
            if self._previous_handler is not None:
                signal.signal(signal.SIGTERM, self._previous_handler)
                self._previous_handler = None

    @property
    def job(self) -> Job:
        """The job of the cluster, which is asked for it at the first time."""
        if self._session.closed:
            raise UsageError("the worker is closed")
        try:
            return self._session.job
        except Stopped:
            raise UnavailableError(f"the worker was stopped before the coordinator at "
                                   f"{self.address} answered") from None

    def identify_data(self, data: str) -> None:
        """Sets `data`, where it is known only when the job is: before the first lease."""
        self._session.identify_data(data)

    def __iter__(self) -> Iterator[Lease]:
        return self

    def __next__(self) -> Lease:
        last, self._lease = self._lease, None
        if last is not None:
            last.settle()
        session = self._session
        try:
            while not session.stopping:
                fields = session.next or session.acquire()
                session.next = None
                if fields.kind == "wait":
                    continue
                if fields.kind == "finished":
                    self.finished = True
                    _log.info("training finished")
                    raise StopIteration
                if fields.kind == "drained":
                    self.drained = True
                    _log.info("the cluster is drained: %s", fields.message)
                    raise StopIteration
                if fields.kind == "failed":
                    raise TrainingFailedError(f"the training failed: {fields.message}")
                session.next = fields  # until it is in hand: it would be handed back
                if session.stopping:
                    break
                if not session.enter(fields.generation):
                    session.next = None
                    continue
                self._lease = Lease(session, fields)
                session.next = None
                return self._lease
        except Stopped:
            pass
        session.hand_back_next()
        raise StopIteration

    @property
    def stopping(self) -> bool:
        """Whether stop() was called, or SIGTERM came."""
        return self._session.stopping

    def stop(self) -> None:
        """Ends the loop after the lease in hand, within a second if there is none."""
        self._session.stop()

    def abandon(self) -> None:
        """Ends the loop soon: transfers of the lease in hand are cancelled, and what waits for them
        raises LeaseDropped; another worker gets the lease."""
        self._session.abandon()

    def close(self) -> None:
        """Hands back the lease in hand, if there is one, and ends all connections."""
        if self._session.closed:
            return
        self._session.closed = True
        self._session.stop()
        try:
            if self._lease is not None and not self._lease.ended:
                self._lease.drop("the worker leaves")
            self._session.hand_back_next()
        finally:
            self._session.close()

    def _on_sigterm(self, number: int, frame: object) -> None:
        """Interrupts the main thread anywhere, also with locks held: another thread does the
        work."""
        self._signals += 1
        self._session.stopping = True
        if self._signals > 1:
            self._session.abandoned = True
            raise SystemExit(128 + number)

        def end() -> None:
            _log.info("SIGTERM: stopping after the lease in hand")
            self._session.stop()
            time.sleep(self._drain)
            if not self._session.closed:
                self._session.abandon()

        threading.Thread(target=end, daemon=True, name="percentdelta-sigterm").start()
