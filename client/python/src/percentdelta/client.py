# SPDX-License-Identifier: Apache-2.0
"""A connection to a running cluster, for programs that look at a training from outside."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Type, TypeVar

import grpc
import numpy as np

from percentdelta import _protocol, _wire, errors
from percentdelta._channel import check_address, make_channel
from percentdelta._pull import Pull
from percentdelta._retry import Pause, Retrier, RetryPolicy, Stopped
from percentdelta._security import Path, Security
from percentdelta._shards import Shards
from percentdelta.errors import (DeadlineExceededError, Error, FailedPreconditionError, ServerError,
                                 TrainingFailedError, UnavailableError, UsageError)
from percentdelta.job import Job
from percentdelta.progress import Progress, Status
from percentdelta.statistics import Statistics, StepStatistics

_log = logging.getLogger("percentdelta")
_T = TypeVar("_T")

# A step of a running training may be over before its weights have been pulled.
_PULL_ATTEMPTS = 5
_POLL_SECONDS = 0.05
# Of history, after a connection was lost: as many as a coordinator retains by default.
_CATCH_UP_STEPS = 10000


class ModelWeights(Dict[str, Any]):
    """The weights of one step: {name: float32 array of the job's shape}, in the job's order."""

    def __init__(self, step: int, arrays: Mapping[str, Any]) -> None:
        super().__init__(arrays)
        self.step = step

    def checksum(self) -> str:
        """SHA-256, hexadecimal, over the little-endian float32 bytes of every tensor in the job's
        order: that of `pdctl checksum`."""
        digest = hashlib.sha256()
        for array in self.values():
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()


class Client:
    """Calls to the cluster whose coordinator, shard 0, is at `address` (HOST:PORT).

    Each attempt of a call takes at most `deadline` seconds; what passes by itself (a server that
    restarts) is tried again by `retry`. `connect_to`: where to reach a shard whose own address, the
    key, means nothing here, as with published ports of containers. Connects with the first call.
    `tls_ca`, `tls_cert`, `tls_key`: PEM files of the cluster's CA, of this client's certificate and
    of its key, read again when they change. `token_file`: with this client's token, instead of a
    certificate. Without either the connection is plaintext, and leaves this machine only if it is
    `insecure`. Thread-safe. A context manager: at its end all connections are closed.

        with percentdelta.Client("127.0.0.1:5000") as client:
            print(client.status().step, client.checksum())

    Every method raises percentdelta.Error with the server's message: UnavailableError if no server
    answers, DeadlineExceededError if it does not answer in time, others as said.
    """

    def __init__(self, address: str, *, deadline: float = 10.0,
                 retry: RetryPolicy = RetryPolicy(),
                 connect_to: Optional[Mapping[str, str]] = None,
                 tls_ca: Optional[Path] = None, tls_cert: Optional[Path] = None,
                 tls_key: Optional[Path] = None, token_file: Optional[Path] = None,
                 insecure: bool = False) -> None:
        self.address = check_address("address", address)
        self._security = Security(tls_ca, tls_cert, tls_key, token_file, insecure)
        self._deadline = deadline
        self._connect_to = dict(connect_to or {})
        for other in self._connect_to.values():
            check_address("connect_to", other)
        self._channel = make_channel(address, self._security)
        self._coordinator = _protocol.Stub("Coordinator", self._channel)
        self._statistics = _protocol.Stub("Statistics", self._channel)
        self._pause = Pause()
        self._retry = retry
        self._closed = False
        self._retrier = Retrier("the server", address, retry, self._pause)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls and connections."""
        self._closed = True
        self._retrier.stop()
        self._channel.close()

    def job(self) -> Job:
        """The job that is being trained."""
        return self._cluster().job

    def status(self) -> Status:
        """The state of the training now."""
        progress = self.progress(from_step=2**31 - 1)
        return Status(**{field.name: getattr(progress, field.name)
                         for field in dataclasses.fields(Status)})

    def progress(self, from_step: int = 0) -> Progress:
        """The state, and the history from this step on, as far as the coordinator retains it."""
        return _wire.progress_from(
            self._call(self._coordinator.GetProgress, _wire.progress_request(from_step)))

    def wait(self, step: Optional[int] = None, timeout: Optional[float] = None) -> Status:
        """Waits until the training is finished, or its weights have reached `step`. Raises
        TrainingFailedError with the reason if it has failed, DeadlineExceededError after `timeout`
        seconds."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            status = self.status()
            if status.state == "failed":
                raise TrainingFailedError(f"the training failed: {status.message}")
            if status.state == "drained":
                raise TrainingFailedError(
                    f"the cluster was drained at step {status.step}: {status.message}")
            if status.state == "finished" or (step is not None and status.step >= step):
                return status
            if give_up is not None and time.monotonic() > give_up:
                raise DeadlineExceededError(
                    f"expected step {status.max_steps if step is None else step} within {timeout:g}"
                    f" s, got to step {status.step} with {status.workers} workers ({status.state}"
                    f"{': ' + status.message if status.message else ''})")
            self._pause.take(_POLL_SECONDS)

    def statistics(self, last: Optional[int] = None, *, first_step: int = 0,
                   last_step: Optional[int] = None, layer: str = "") -> Statistics:
        """What the steps did to each tensor: of the `last` most recent steps, or of first_step ...
        last_step (inclusive; None: up to the newest). `layer`: of this one only.

        NotFoundError: no such layer; InvalidArgumentError: a negative number.
        """
        whole_range = last is None
        if last_step == 0 and whole_range:  # on the wire 0 means the newest
            found = self.statistics(first_step=first_step, last_step=1, layer=layer)
            return Statistics([each for each in found if each.step == 0], found.oldest_step)
        # An answer has the newest steps that fit; those before are asked for until all are there.
        steps: List[StepStatistics] = []
        request = _wire.statistics_request(layer, last or 0, first_step, last_step or 0)
        while True:
            response = self._call(self._statistics.GetUpdateStatistics, request)
            newer = steps[0].step if steps else None
            page = [_wire.step_from(each) for each in response.steps]
            page = [each for each in page if newer is None or each.step < newer]
            steps = page + steps
            if not page:
                break
            first = first_step if last is None or last <= 0 else steps[-1].step + 1 - last
            if steps[0].step <= max(first, response.oldest_step):
                break
            request = _wire.statistics_request(layer, 0, max(0, first), max(1, steps[0].step - 1))
        return Statistics(steps, response.oldest_step)

    def watch(self, layer: str = "", last: int = 0) -> Iterator[StepStatistics]:
        """Every step's statistics as it happens, beginning with `last` steps of history, until the
        training ends. A lost connection is made again, and no step is given twice.

        TrainingFailedError: the training failed; the message says why.
        """
        seen = -1
        while True:
            call, message = self._retried(lambda: self._begin_watch(layer, last))
            try:
                while message is not None:
                    step = _wire.step_from(message)
                    if step.step > seen:
                        seen = step.step
                        yield step
                    message = next(call, None)
                return
            except grpc.RpcError as rpc_error:
                error = self._explain(rpc_error)
                if error.code == "ABORTED":
                    raise TrainingFailedError(str(error)) from None
                if not errors.is_transient(error):
                    raise error from None
                last = max(last, _CATCH_UP_STEPS)
            finally:
                call.cancel()

    def _begin_watch(self, layer: str, last: int) -> Tuple[Any, Any]:
        """The stream, and its first message; None: there is none, for the training has ended."""
        call = self._statistics.WatchUpdateStatistics(_wire.watch_request(layer, last))
        try:
            return call, next(call, None)
        except grpc.RpcError as rpc_error:
            error = self._explain(rpc_error)
        if error.code == "ABORTED":
            raise TrainingFailedError(str(error))
        raise error

    def weights(self, step: Optional[int] = None) -> ModelWeights:
        """The weights of one step, from all shards; None: of the newest whole one.

        FailedPreconditionError: the step is no longer retained.
        """
        return self._weights(self._cluster(), step)

    def _weights(self, cluster: _wire.Cluster, step: Optional[int]) -> ModelWeights:
        if cluster.generation == 0:
            raise UnavailableError("the cluster is still gathering its shards: try again")
        shards = Shards(cluster, self._connect_to, security=self._security)
        try:
            retrier = Retrier("a shard of the cluster", self.address, self._retry, self._pause)
            return retrier.call(lambda: self._pull_newest(shards) if step is None
                                else self._pull(shards, step))
        finally:
            shards.close()

    def checksum(self, step: Optional[int] = None) -> str:
        """The SHA-256 of weights(step): what two runs are compared by, as `pdctl checksum` shows.
        If the job has any_arithmetic, a warning is logged that another run has another."""
        cluster = self._cluster()
        if cluster.job.any_arithmetic:
            _log.warning("any_arithmetic: the weights depend on which worker computed which "
                         "gradient: their checksum is of this run alone")
        return self._weights(cluster, step).checksum()

    def checkpoint(self, timeout: float = 60.0) -> int:
        """Requests a checkpoint and waits until it is whole; returns its step.

        FailedPreconditionError  the job has no checkpoints, or the training has ended
        ServerError              it could not be written; the message says why
        DeadlineExceededError    it is not there after `timeout` seconds, but still wanted
        """
        before = self.status()
        at_least = self._call(self._coordinator.TakeCheckpoint,
                              _wire.checkpoint_request()).at_least_step
        give_up = time.monotonic() + timeout
        while True:
            status = self.status()
            now = status.checkpoint
            if now is not None and now.step >= at_least:
                return now.step
            if now is not None and before.checkpoint is not None \
                    and now.failures > before.checkpoint.failures:
                raise ServerError(f"the checkpoint failed: {now.error}")
            if time.monotonic() > give_up:
                raise DeadlineExceededError(
                    f"no checkpoint of step {at_least} or later within {timeout:g} s; the training "
                    f"is at step {status.step}, with {status.workers} workers. It is still wanted: "
                    f"status() tells when it is there")
            self._pause.take(_POLL_SECONDS)

    def pause(self) -> None:
        """Gives out no more leases until resume(); those that workers have go on. The pause of a
        job with checkpoints outlasts the servers.

        FailedPreconditionError: the training is finished, failed or is being drained.
        """
        self._call(self._coordinator.Pause, _wire.operator_request("Pause"))

    def resume(self) -> None:
        """Ends a pause, or abandons a drain() whose checkpoint is not complete.

        FailedPreconditionError: the drain is complete.
        """
        self._call(self._coordinator.Resume, _wire.operator_request("Resume"))

    def drain(self, timeout: float = 600.0) -> int:
        """Takes a checkpoint, and ends all workers and servers with exit code 0. Waits until the
        coordinator has ended; returns the checkpoint's step. Servers that are started again
        continue from it.

        FailedPreconditionError  the job has no checkpoints, or the training has failed
        ServerError              the checkpoint could not be written, or another operator resumed
                                 the training
        DeadlineExceededError    not drained after `timeout` seconds, but it goes on
        """
        self._call(self._coordinator.Drain, _wire.operator_request("Drain"))
        give_up = time.monotonic() + timeout
        drained: Optional[int] = None
        while True:
            try:
                status = _wire.progress_from(self._coordinator.GetProgress(
                    _wire.progress_request(2**31 - 1), timeout=self._deadline))
            except grpc.RpcError as error:
                failure = self._explain(error)
                if drained is not None and failure.code == "UNAVAILABLE":
                    return drained
                if not errors.is_transient(failure) or time.monotonic() > give_up:
                    raise failure from None
                self._pause.take(_POLL_SECONDS)
                continue
            if status.state == "drained":
                drained = status.step
            elif drained is not None:
                return drained  # the servers were started again
            elif status.state not in ("draining", "gathering"):
                checkpoint = status.checkpoint
                raise ServerError("the drain was abandoned: " + (
                    f"its checkpoint failed: {checkpoint.error}" if checkpoint and checkpoint.error
                    else "another operator resumed the training"))
            if time.monotonic() > give_up:
                raise DeadlineExceededError(
                    f"the cluster is not drained within {timeout:g} s: {status.message}. It is "
                    "still draining: status() shows how far it is, resume() abandons it")
            self._pause.take(_POLL_SECONDS)

    def _cluster(self) -> _wire.Cluster:
        return _wire.cluster_from(self._call(self._coordinator.GetJob, _wire.get_job_request()))

    def _pull(self, shards: Shards, step: int) -> ModelWeights:
        arrays = [np.empty(each.size, np.float32) for each in shards.tensors]
        Pull(shards, step, self._deadline, arrays).wait_all()
        return ModelWeights(step, {each.name: array.reshape(each.shape)
                                   for each, array in zip(shards.tensors, arrays)})

    def _pull_newest(self, shards: Shards) -> ModelWeights:
        for attempt in range(_PULL_ATTEMPTS):
            try:
                return self._pull(shards, self.status().step)
            except FailedPreconditionError:
                if attempt == _PULL_ATTEMPTS - 1:
                    raise
        raise AssertionError("not reached")

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        def attempt() -> Any:
            try:
                return method(request, timeout=self._deadline)
            except grpc.RpcError as error:
                raise self._explain(error) from None

        return self._retried(attempt)

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        if not self._closed:
            try:
                return self._retrier.call(attempt)
            except Stopped:
                pass
        raise UsageError(f"the client of {self.address} is closed")

    def _explain(self, error: Any) -> Error:
        """With who cannot be reached in the message."""
        failure = errors.from_rpc(error)
        if failure.code == "UNAVAILABLE":
            wrong = self._security.diagnose(self.address)
            return errors.make(failure.code, f"no server answers at {self.address} "
                                             f"({wrong + ': ' if wrong else ''}{failure})")
        if failure.code == "DEADLINE_EXCEEDED":
            return errors.make(failure.code, f"the server at {self.address} did not answer in time")
        if failure.code == "UNIMPLEMENTED":
            return errors.make(failure.code, f"the server at {self.address} is not the "
                                             "coordinator, which is shard 0")
        return failure
