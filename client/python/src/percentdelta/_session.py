# SPDX-License-Identifier: Apache-2.0
"""A worker's part in one cluster: its calls to the coordinator, the connections to the shards of
the present generation, the report of what came of its leases. Worker and Lease share it."""

from __future__ import annotations

import dataclasses
import logging
import random
import time
from typing import Any, Callable, Dict, Mapping, Optional

import grpc
import numpy as np

from percentdelta import _protocol, _wire, errors
from percentdelta._channel import make_channel
from percentdelta._pull import WeightSource
from percentdelta._push import Push
from percentdelta._renewer import LeaseRenewer
from percentdelta._retry import Pause, Retrier, RetryPolicy, Stopped
from percentdelta._security import Security
from percentdelta._shards import Shards
from percentdelta._shared_memory import Memory
from percentdelta.batches import BatchSource
from percentdelta.errors import Error, FailedPreconditionError, LeaseDropped, UnavailableError
from percentdelta.job import Job

_log = logging.getLogger("percentdelta")

# In seconds.
_CALL_DEADLINE = 5.0
_LEAVING_DEADLINE = 1.0
_LONGEST_WAIT = 1.0  # for a lease, which stop() lets pass
_GATHERING_PAUSE = 0.1
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0
# At least. Not the lease's deadline: work that comes late counts, and tells the coordinator how
# long work takes.
_TRANSFER_DEADLINE = 600.0
# In bytes: of larger models the next step's weights are not pulled ahead unless asked for, as they
# take as much memory again.
_PREFETCHED_MODEL = 256_000_000


@dataclasses.dataclass(frozen=True)
class Options:
    """Worker's, without defaults."""

    address: str
    name: str
    arithmetic: str
    data: str
    give_up_after: float
    prefetch: Optional[bool]
    shared_memory: bool
    connect_to: Mapping[str, str]
    security: Security = Security()


class Session:
    """Used by one thread, apart from stop(), abandon(), begin_push() and prefetch()."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._channel = make_channel(options.address, options.security)
        self._stub = _protocol.Stub("Coordinator", self._channel)
        self._pause = Pause()
        self._retrier = Retrier("the coordinator", options.address,
                                RetryPolicy(give_up_after=options.give_up_after), self._pause)
        self._cluster: Optional[_wire.Cluster] = None
        self._batches: Optional[BatchSource] = None
        self._pushing: Optional[Push] = None
        self._failures = 0  # in a row
        self._unreached_since: Optional[float] = None
        self.shards: Optional[Shards] = None
        self.source: Optional[WeightSource] = None  # of the weights
        self.renewer = LeaseRenewer(self._renew)
        self.next: Optional[_wire.LeaseFields] = None  # came with the last answer, not in hand yet
        self.stopping = False
        self.abandoned = False
        self.closed = False

    # ---- its life ------------------------------------------------------------------------------

    def stop(self) -> None:
        """No further lease; calls that fail are not made again."""
        self.stopping = True
        self._retrier.stop()

    def abandon(self) -> None:
        """Cancels the transfers of the lease in hand, too."""
        self.abandoned = True
        self.stop()
        if self.source is not None:
            self.source.cancel()
        if self._pushing is not None:
            self._pushing.cancel()

    def close(self) -> None:
        """Ends all calls and connections."""
        self.renewer.stop()
        self._leave_generation()
        self._channel.close()

    # ---- the cluster ---------------------------------------------------------------------------

    @property
    def job(self) -> Job:
        """The cluster's, which is asked for it at the first time. Raises Stopped."""
        if self._cluster is None:
            self._cluster = self._get_cluster()
        return self._cluster.job

    def identify_data(self, data: str) -> None:
        """Of all leases that are acquired from now on."""
        self._options = dataclasses.replace(self._options, data=data)

    @property
    def index(self) -> Dict[str, int]:
        """Of the tensors, by name."""
        assert self.shards is not None
        return self.shards.index

    def enter(self, generation: int) -> bool:
        """Makes the cluster's present generation the session's, if it is not; waits until its
        shards are gathered. Returns whether it is `generation`: a lease of any other is void.
        Raises Stopped."""
        if self.shards is None or self.shards.generation != generation:
            cluster = self._await_shards()
            self._leave_generation()
            self.shards = Shards(cluster, self._options.connect_to, self._options.shared_memory,
                                 self._options.security)
            self.source = WeightSource(self.shards, _TRANSFER_DEADLINE)
            _log.info("joined generation %d: %d shards, job %s, arithmetic %s", cluster.generation,
                      len(self.shards), cluster.job.name, self._options.arithmetic)
        return self.shards.generation == generation

    def _await_shards(self) -> _wire.Cluster:
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
                return cluster
            if not said:
                _log.info("waiting for shards")
                said = True
            if time.monotonic() - began > self._options.give_up_after:
                raise UnavailableError(
                    f"the coordinator at {self._options.address} answers, but shards are missing "
                    f"since {self._options.give_up_after:g} s")
            self._pause.take(_GATHERING_PAUSE)
            if self.stopping:
                raise Stopped

    def _leave_generation(self) -> None:
        if self.source is not None:
            self.source.cancel()
        if self.shards is not None:
            self.shards.close()

    # ---- a lease -------------------------------------------------------------------------------

    def acquire(self) -> _wire.LeaseFields:
        """The next lease, or one of kind "wait". Raises Stopped."""
        request = _wire.acquire_request(self._options.name, self._options.arithmetic,
                                        self._options.data, _LONGEST_WAIT)
        return _wire.lease_from(
            self._call(self._stub.AcquireLease, request, _CALL_DEADLINE + _LONGEST_WAIT))

    def examples_of(self, fields: _wire.LeaseFields) -> Any:
        """Indices of the lease's examples, int64, read-only."""
        if fields.kind == "train":
            if self._batches is None:
                self._batches = BatchSource(self.job.seed, self.job.data.training_examples)
            return self._batches.examples(fields.epoch, fields.batch_index, self.job.batch_size)
        examples = np.arange(fields.first_example, fields.first_example + fields.example_count)
        examples.flags.writeable = False
        return examples

    @property
    def prefetches(self) -> bool:
        """Whether the next step's weights are pulled ahead."""
        assert self.shards is not None
        if self._options.prefetch is None:
            return self.shards.model_bytes <= _PREFETCHED_MODEL
        return self._options.prefetch

    def begin_push(self, fields: _wire.LeaseFields, memory: Optional[Memory]) -> Push:
        """Of the lease's gradient; `memory`: see Push. With it the next step's weights begin to be
        pulled: the next lease is not known yet, but its step is all but certain."""
        assert self.shards is not None and self.source is not None
        push = Push(self.shards, fields, max(fields.deadline, _TRANSFER_DEADLINE), memory)
        self._pushing = push
        if self.abandoned:
            push.cancel()
        elif self.prefetches and fields.step + 1 < self.job.max_steps:
            self.source.prefetch(fields.step + 1)
        return push

    @property
    def transport(self) -> int:
        """How values travel, as the message Transport numbers it."""
        if self.shards is None:
            return 0
        takers = self.shards.memory.takers
        return 1 if takers == 0 else 2 if takers == len(self.shards) else 3

    def report(self, fields: _wire.LeaseFields, result: _wire.Result,
               dropped: Optional[LeaseDropped]) -> None:
        """Reports a lease's end, pauses after a failure, and keeps the next lease. Raises
        UnavailableError if the cluster has been out of reach for too long."""
        self._pushing = None
        self.renewer.end()
        if dropped is None:
            if self._failures > 0:
                _log.info("working again after %d dropped leases", self._failures)
            self._failures = 0
        elif not self.stopping:
            self._pause_after(fields, dropped)
        self.next = self._complete(fields, result)
        self._check_reach(dropped)

    def hand_back_next(self) -> None:
        """What came with the last answer, so that no worker has to wait for its deadline."""
        fields, self.next = self.next, None
        if fields is not None and fields.kind in ("train", "evaluate"):
            try:
                self._complete(fields, _wire.Result(failure="the worker leaves"))
            except Error:
                pass  # its deadline does the same

    def _pause_after(self, fields: _wire.LeaseFields, dropped: LeaseDropped) -> None:
        # An outage is one line, however many leases it costs.
        if self._failures == 0 or dropped.at_fault:
            _log.warning("lease of step %d slot %d dropped: %s", fields.step, fields.slot, dropped)
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 16), _LONGEST_PAUSE)
        self._failures += 1
        self._pause.take(pause * random.uniform(0.5, 1))  # not all workers at once

    def _complete(self, fields: _wire.LeaseFields, result: _wire.Result
                  ) -> Optional[_wire.LeaseFields]:
        result.leaving = result.leaving or self.stopping
        request = _wire.complete_request(fields, self._options.name, result)
        deadline = _LEAVING_DEADLINE if self.abandoned or self.closed else _CALL_DEADLINE
        try:
            return _wire.lease_from(self._call(self._stub.CompleteLease, request, deadline))
        except FailedPreconditionError:
            return None  # of another generation by now: the lease is void, and so is its result
        except Stopped:
            return None

    def _check_reach(self, dropped: Optional[LeaseDropped]) -> None:
        """Weights that are gone are the sign of a cluster that has gone on."""
        if dropped is None or dropped.at_fault or dropped.code in ("", "FAILED_PRECONDITION"):
            self._unreached_since = None
            return
        now = time.monotonic()
        if self._unreached_since is None:
            self._unreached_since = now
        if now - self._unreached_since > self._options.give_up_after:
            raise UnavailableError(f"a part of the cluster has been out of reach for "
                                   f"{self._options.give_up_after:g} s; the last error: {dropped}")

    # ---- calls to the coordinator --------------------------------------------------------------

    def _get_cluster(self) -> _wire.Cluster:
        return _wire.cluster_from(
            self._call(self._stub.GetJob, _wire.get_job_request(), _CALL_DEADLINE))

    def _renew(self, fields: _wire.LeaseFields) -> float:
        try:
            answer = self._stub.RenewLease(_wire.renew_request(fields, self._options.name),
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
                failure = errors.from_rpc(error)
                wrong = ""
                if failure.code == "UNAVAILABLE":
                    wrong = self._options.security.diagnose(self._options.address)
                if not wrong:
                    raise failure from None
                raise errors.make(failure.code, f"{wrong} ({failure})") from None

        try:
            return self._retrier.call(attempt)
        except errors.ServerError as error:
            if error.code != "UNIMPLEMENTED":
                raise
            raise errors.make(error.code, f"the server at {self._options.address} is not the "
                              "coordinator, which is shard 0; give its address") from None
