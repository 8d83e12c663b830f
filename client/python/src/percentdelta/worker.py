"""A worker for gradients of any origin: leases a batch, pulls the weights of its step, pushes the
gradient, forgets everything. What worker/worker.cc does, with the computation left to the
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
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Type

import grpc
import numpy as np

from percentdelta import _protocol, _wire, errors
from percentdelta._channel import check_address, make_channel
from percentdelta._pull import WeightSource
from percentdelta._push import Push
from percentdelta._renewer import LeaseRenewer
from percentdelta._retry import Pause, Retrier, RetryPolicy, Stopped
from percentdelta._shards import Shards
from percentdelta.batches import BatchSource
from percentdelta.errors import (Error, FailedPreconditionError, LeaseDropped, TrainingFailedError,
                                 UnavailableError, UsageError)
from percentdelta.job import Job
from percentdelta.lease import TRANSFER_DEADLINE, Lease

_log = logging.getLogger("percentdelta")

# In seconds.
_CALL_DEADLINE = 5.0
_LEAVING_DEADLINE = 1.0
_LONGEST_WAIT = 1.0  # for a lease, which stop() lets pass
_GATHERING_PAUSE = 0.1
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0


def default_arithmetic() -> str:
    """How this process computes with NumPy, as far as it is known: version and processor type."""
    return f"numpy-{np.__version__}/{platform.machine()}"


class Worker:
    """An iterator over the leases of the cluster whose coordinator is at `address` (HOST:PORT).

        with percentdelta.Worker("127.0.0.1:5000") as worker:
            for lease in worker:
                with lease:
                    weights = lease.pull()
                    ...

    The loop ends when the training is finished, or after stop(). Connects with the first lease, or
    when `job` is read. While servers restart it waits and goes on in the new generation.

    name           in logs and in the coordinator's count; different workers have different ones.
                   None: host name, process id and a number
    arithmetic     how the gradients are computed: a cluster takes workers of one arithmetic only,
                   so that the last bits do not depend on which worker computed. None: NumPy's
                   version and the type of processor
    data           fingerprint of the data, such as a SHA-256: one cluster, one data set. "": not
                   said
    give_up_after  how long, in seconds, the cluster, or a part of it, may be out of reach
    drain          on SIGTERM: how long, in seconds, the lease in hand may still take
    prefetch       pulls the next step's weights during the push, into a second copy of the model
    shared_memory  exchanges weights and gradients with servers on this machine by shared memory,
                   where they can see this process; a third copy of the model
    connect_to     see Client
    handle_sigterm whether `with` turns SIGTERM into stop() (in the main thread only); a second one
                   hands the lease back and ends the process with exit code 143

    Raises, from the loop and from `job`:
        TrainingFailedError      the training failed; the message says why
        FailedPreconditionError  another arithmetic or other data than the first worker's, another
                                 job than before; or sent away, for it failed at what others could
                                 do
        InvalidArgumentError     the address or the name is not valid
        UnavailableError         out of reach for too long

    An exception in the body of the loop hands the lease back and leaves the loop. Used by one
    thread; stop() and abandon() may be called from any.
    """

    def __init__(self, address: str, *, name: Optional[str] = None,
                 arithmetic: Optional[str] = None, data: str = "", give_up_after: float = 600.0,
                 drain: float = 5.0, prefetch: bool = True, shared_memory: bool = True,
                 connect_to: Optional[Mapping[str, str]] = None,
                 handle_sigterm: bool = True) -> None:
        self.address = check_address("address", address)
        self.name = name if name is not None else (
            f"{socket.gethostname()[:80]}-{os.getpid()}-{random.getrandbits(24):06x}")
        self._arithmetic = default_arithmetic() if arithmetic is None else arithmetic
        self._data = data
        self._give_up_after = give_up_after
        self._drain = drain
        self._prefetches = prefetch
        self._shares_memory = shared_memory
        self._connect_to = dict(connect_to or {})
        self._handle_sigterm = handle_sigterm

        self._channel = make_channel(address)
        self._stub = _protocol.Stub("Coordinator", self._channel)
        self._pause = Pause()
        self._retrier = Retrier("the coordinator", address,
                                RetryPolicy(give_up_after=give_up_after), self._pause)
        self._renewer = LeaseRenewer(self._renew)
        self._cluster: Optional[_wire.Cluster] = None
        self._shards: Optional[Shards] = None
        self._source: Optional[WeightSource] = None
        self._batches: Optional[BatchSource] = None
        self._indices: Dict[str, int] = {}
        self._lease: Optional[Lease] = None
        self._next: Optional[_wire.LeaseFields] = None  # came with the last answer
        self._failures = 0  # in a row
        self._unreached_since: Optional[float] = None
        self._stopping = False
        self._abandoned = False
        self._closed = False
        self._pushing: Optional[Push] = None
        self._previous_handler: Any = None
        self._signals = 0

    # ---- its life ------------------------------------------------------------------------------

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

    def stop(self) -> None:
        """Ends the loop after the lease in hand, within a second if there is none."""
        self._stopping = True
        self._retrier.stop()

    def abandon(self) -> None:
        """Ends the loop soon: transfers of the lease in hand are cancelled, and what waits for them
        raises LeaseDropped; another worker gets the lease."""
        self._abandoned = True
        self.stop()
        if self._source is not None:
            self._source.cancel()
        if self._pushing is not None:
            self._pushing.cancel()

    def close(self) -> None:
        """Hands back the lease in hand, if there is one, and ends all connections."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        try:
            if self._lease is not None and not self._lease.ended:
                self._lease.drop("the worker leaves")
            self._hand_back_next()
        finally:
            self._renewer.stop()
            if self._source is not None:
                self._source.cancel()
            if self._shards is not None:
                self._shards.close()
            self._channel.close()

    def _on_sigterm(self, number: int, frame: object) -> None:
        """Interrupts the main thread anywhere, also with locks held: another thread does the
        work."""
        self._signals += 1
        self._stopping = True
        if self._signals > 1:
            self._abandoned = True
            raise SystemExit(128 + number)

        def end() -> None:
            _log.info("SIGTERM: stopping after the lease in hand")
            self.stop()
            time.sleep(self._drain)
            if not self._closed:
                self.abandon()

        threading.Thread(target=end, daemon=True, name="percentdelta-sigterm").start()

    # ---- the loop ------------------------------------------------------------------------------

    @property
    def job(self) -> Job:
        """The job of the cluster, which is asked for it at the first time."""
        if self._cluster is None:
            if self._closed:
                raise UsageError("the worker is closed")
            try:
                self._cluster = self._get_cluster()
            except Stopped:
                raise UnavailableError("the worker was stopped before the coordinator at "
                                       f"{self.address} answered") from None
        return self._cluster.job

    def __iter__(self) -> Iterator[Lease]:
        return self

    def __next__(self) -> Lease:
        self._end_last()
        try:
            while not self._stopping:
                fields = self._next or self._acquire()
                self._next = None
                if fields.kind == "wait":
                    continue
                if fields.kind == "finished":
                    _log.info("training finished")
                    raise StopIteration
                if fields.kind == "failed":
                    raise TrainingFailedError(f"the training failed: {fields.message}")
                self._next = fields  # until it is in hand: it would be handed back
                if self._stopping:
                    break
                if self._source is None or self._shards is None \
                        or fields.generation != self._shards.generation:
                    self._enter()
                self._lease = self._make_lease(fields)
                self._next = None
                self._renewer.begin(fields)
                return self._lease
        except Stopped:
            pass
        self._hand_back_next()
        raise StopIteration

    def _end_last(self) -> None:
        """The lease before must have ended; one that was dropped without `with` is reported now."""
        last, self._lease = self._lease, None
        if last is None or (last.ended and not last.forgotten):
            return
        if not last.ended and last._dropped is not None:
            last._finish_dropped()
            return
        if not last.ended:
            last.drop("the worker did not complete it")
        raise UsageError(f"{last}: expected complete(), drop() or fail() before the next "
                         f"lease")

    def _make_lease(self, fields: _wire.LeaseFields) -> Lease:
        assert self._cluster is not None and self._source is not None
        job = self._cluster.job
        if fields.kind == "train":
            if self._batches is None:
                self._batches = BatchSource(job.seed, job.data.training_examples)
            examples = self._batches.examples(fields.epoch, fields.batch_index, job.batch_size)
        else:
            examples = np.arange(fields.first_example, fields.first_example + fields.example_count)
        return Lease(self, fields, job, self._source, examples)

    def _enter(self) -> None:
        """The cluster's present generation: waits until the shards are gathered."""
        began = time.monotonic()
        said = False
        while True:
            cluster = self._get_cluster()
            if self._cluster is not None and cluster.job_hash != self._cluster.job_hash:
                raise FailedPreconditionError(
                    f"the cluster has begun another job: expected {self._cluster.job_hash[:12]}, "
                    f"got {cluster.job_hash[:12]}; start the worker anew")
            self._cluster = cluster
            if cluster.generation != 0:
                break
            if not said:
                _log.info("waiting for shards")
                said = True
            if time.monotonic() - began > self._give_up_after:
                raise UnavailableError(
                    f"the coordinator at {self.address} answers, but shards are missing since "
                    f"{self._give_up_after:g} s")
            self._pause.take(_GATHERING_PAUSE)
            if self._stopping:
                raise Stopped
        if self._source is not None:
            self._source.cancel()
        if self._shards is not None:
            self._shards.close()
        self._shards = Shards(cluster, self._connect_to, self._shares_memory)
        self._source = WeightSource(self._shards, TRANSFER_DEADLINE)
        self._indices = self._shards.index
        _log.info("joined generation %d: %d shards, job %s, arithmetic %s", cluster.generation,
                  len(self._shards), cluster.job.name, self._arithmetic)

    # ---- what its leases need ------------------------------------------------------------------

    def _begin_push(self, fields: _wire.LeaseFields) -> Push:
        assert self._shards is not None
        push = Push(self._shards, fields, max(fields.deadline, TRANSFER_DEADLINE))
        self._note_push(push)
        if self._abandoned:
            push.cancel()
        return push

    def _note_push(self, push: Optional[Push]) -> None:
        self._pushing = push

    def _report(self, fields: _wire.LeaseFields, result: _wire.Result,
                dropped: Optional[LeaseDropped]) -> None:
        """Reports a lease's end, pauses after a failure, and keeps the next lease."""
        self._renewer.end()
        if dropped is None:
            if self._failures > 0:
                _log.info("working again after %d dropped leases", self._failures)
            self._failures = 0
        elif not self._stopping:
            # An outage is one line, however many leases it costs.
            if self._failures == 0 or dropped.at_fault:
                _log.warning("lease of step %d slot %d dropped: %s", fields.step, fields.slot,
                             dropped)
            pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 16), _LONGEST_PAUSE)
            self._failures += 1
            self._pause.take(pause * random.uniform(0.5, 1))  # not all workers at once
        self._next = self._complete(fields, result)
        self._check_reach(dropped)

    def _complete(self, fields: _wire.LeaseFields, result: _wire.Result
                  ) -> Optional[_wire.LeaseFields]:
        result.leaving = result.leaving or self._stopping
        request = _wire.complete_request(fields, self.name, result)
        deadline = _LEAVING_DEADLINE if self._abandoned or self._closed else _CALL_DEADLINE
        try:
            answer = self._call(self._stub.CompleteLease, request, deadline)
        except FailedPreconditionError:
            return None  # of another generation by now: the lease is void, and so is its result
        except Stopped:
            return None
        return _wire.lease_from(answer)

    def _check_reach(self, dropped: Optional[LeaseDropped]) -> None:
        """Raises UnavailableError if servers have been out of reach for too long. Weights that are
        gone are the sign of a cluster that has gone on."""
        if dropped is None or dropped.at_fault or dropped.code in ("", "FAILED_PRECONDITION"):
            self._unreached_since = None
            return
        now = time.monotonic()
        if self._unreached_since is None:
            self._unreached_since = now
        if now - self._unreached_since > self._give_up_after:
            raise UnavailableError(f"a part of the cluster has been out of reach for "
                                   f"{self._give_up_after:g} s; the last error: {dropped}")

    def _hand_back_next(self) -> None:
        """What came with the last answer, so that no worker has to wait for its deadline."""
        fields, self._next = self._next, None
        if fields is not None and fields.kind in ("train", "evaluate"):
            try:
                self._complete(fields, _wire.Result(failure="the worker leaves"))
            except Error:
                pass  # its deadline does the same

    # ---- calls to the coordinator --------------------------------------------------------------

    def _acquire(self) -> _wire.LeaseFields:
        request = _wire.acquire_request(self.name, self._arithmetic, self._data, _LONGEST_WAIT)
        return _wire.lease_from(
            self._call(self._stub.AcquireLease, request, _CALL_DEADLINE + _LONGEST_WAIT))

    def _get_cluster(self) -> _wire.Cluster:
        return _wire.cluster_from(
            self._call(self._stub.GetJob, _wire.get_job_request(), _CALL_DEADLINE))

    def _renew(self, fields: _wire.LeaseFields) -> float:
        try:
            answer = self._stub.RenewLease(_wire.renew_request(fields, self.name),
                                           timeout=_CALL_DEADLINE)
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None
        except ValueError as error:  # the channel was closed meanwhile
            raise errors.make("CANCELLED", str(error)) from None
        return float(answer.deadline_ms) / 1e3

    def _call(self, method: Callable[..., Any], request: Any, deadline: float) -> Any:
        def attempt() -> Any:
            try:
                return method(request, timeout=deadline)
            except grpc.RpcError as error:
                raise errors.from_rpc(error) from None

        try:
            return self._retrier.call(attempt)
        except errors.ServerError as error:
            if error.code != "UNIMPLEMENTED":
                raise
            raise errors.make(error.code, f"the server at {self.address} is not a coordinator: "
                                          f"shard 0 is; give its address") from None
