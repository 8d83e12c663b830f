# SPDX-License-Identifier: Apache-2.0
"""Messages to plain data and back: the one module, besides _job_codec, that knows their fields."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional, Tuple

from percentdelta import _job_codec, _protocol
from percentdelta._partition import Slice
from percentdelta._shared_memory import SharedMemory
from percentdelta.job import Job
from percentdelta.progress import CheckpointStatus, Progress, ProgressPoint, Timings
from percentdelta.statistics import StepStatistics, TensorStatistics

_PullRequest = _protocol.message("PullRequest")
_PushRequest = _protocol.message("PushRequest")
_STATES = {1: "gathering", 2: "training", 3: "finished", 4: "failed", 5: "paused", 6: "draining",
           7: "drained"}
_MAX_FAILURE = 4000  # characters; the server keeps fewer, and refuses requests of 64 KiB
_KINDS = {1: "wait", 2: "finished", 3: "failed", 4: "train", 5: "evaluate", 6: "drained"}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The job that a cluster runs, where its shards are, and what each of them has. `generation` 0:
    still gathering."""

    job: Job
    job_hash: str
    generation: int
    addresses: Tuple[str, ...]
    partition: Tuple[Slice, ...]


@dataclasses.dataclass(frozen=True)
class LeaseFields:
    """A lease as it came. `kind`: "wait", "finished", "failed", "drained", "train" or "evaluate";
    `deadline`: seconds from the moment of giving."""

    kind: str
    generation: int
    id: int
    step: int
    slot: int
    epoch: int
    batch_index: int
    first_example: int
    example_count: int
    deadline: float
    message: str
    checkpoint: bool


@dataclasses.dataclass
class Result:
    """What a worker says of a lease. `failure`: "" or why the work could not be done."""

    failure: str = ""
    at_fault: bool = False
    leaving: bool = False
    loss_sum: float = 0.0
    correct: int = 0
    examples: int = 0
    pull: float = 0.0
    compute: float = 0.0
    push: float = 0.0
    metrics: Tuple[Tuple[str, float, float], ...] = ()  # name, sum, count


def cluster_from(message: Any) -> Cluster:
    """From a GetJobResponse."""
    return Cluster(_job_codec.from_message(message.job), message.job_hash, message.generation,
                   tuple(message.shard_addresses),
                   tuple(Slice(each.tensor, each.begin, each.end, each.shard)
                         for each in message.partition))


def lease_from(message: Any) -> LeaseFields:
    """From a Lease."""
    return LeaseFields(_KINDS.get(message.kind, "wait"), message.generation, message.lease_id,
                       message.step, message.slot, message.epoch, message.batch_index,
                       message.first_example, message.example_count, message.deadline_ms / 1e3,
                       message.message, message.checkpoint)


def get_job_request() -> Any:
    """GetJobRequest."""
    return _protocol.message("GetJobRequest")()


def acquire_request(worker: str, arithmetic: str, data: str, max_wait: float) -> Any:
    """AcquireLeaseRequest; `max_wait` in seconds."""
    return _protocol.message("AcquireLeaseRequest")(
        worker=worker, arithmetic=arithmetic, data=data, max_wait_ms=int(max_wait * 1e3))


def complete_request(lease: LeaseFields, worker: str, result: Result) -> Any:
    """CompleteLeaseRequest."""
    request = _protocol.message("CompleteLeaseRequest")(
        generation=lease.generation, lease_id=lease.id, worker=worker,
        failure=result.failure[:_MAX_FAILURE],
        loss_sum=result.loss_sum, correct=result.correct, examples=result.examples,
        caused_by_environment=bool(result.failure) and not result.at_fault, leaving=result.leaving)
    request.timings.pull_us = int(result.pull * 1e6)
    request.timings.compute_us = int(result.compute * 1e6)
    request.timings.push_us = int(result.push * 1e6)
    for name, total, count in result.metrics:
        request.metrics.add(name=name, sum=total, count=count)
    return request


def renew_request(lease: LeaseFields, worker: str) -> Any:
    """RenewLeaseRequest."""
    return _protocol.message("RenewLeaseRequest")(
        generation=lease.generation, lease_id=lease.id, worker=worker)


def checkpoint_request() -> Any:
    """TakeCheckpointRequest."""
    return _protocol.message("TakeCheckpointRequest")()


def operator_request(call: str) -> Any:
    """PauseRequest, ResumeRequest or DrainRequest, for the `call` "Pause", "Resume" or "Drain"."""
    return _protocol.message(f"{call}Request")()


def progress_request(from_step: int) -> Any:
    """GetProgressRequest."""
    return _protocol.message("GetProgressRequest")(from_step=from_step)


def _points(messages: Any) -> Tuple[ProgressPoint, ...]:
    return tuple(ProgressPoint(each.step, each.loss, each.accuracy, each.seconds,
                               {metric.name: metric.value for metric in each.metrics})
                 for each in messages)


def progress_from(message: Any) -> Progress:
    """From a GetProgressResponse."""
    timings: Optional[Timings] = None
    if message.HasField("mean_timings"):
        means = message.mean_timings
        timings = Timings(means.pull_us / 1e6, means.compute_us / 1e6, means.push_us / 1e6)
    checkpoint: Optional[CheckpointStatus] = None
    if message.HasField("checkpoint"):
        state = message.checkpoint
        checkpoint = CheckpointStatus(state.step, state.under_way, state.failures, state.error,
                                      state.skipped)
    return Progress(
        state=_STATES.get(message.state, "unknown"), message=message.message,
        job_name=message.job_name, job_hash=message.job_hash, generation=message.generation,
        shards=message.shard_count, step=message.step, max_steps=message.max_steps,
        workers=message.workers, examples_per_second=message.examples_per_second,
        expired_leases=message.expired_leases, failed_leases=message.failed_leases,
        duplicate_results=message.duplicate_results,
        speculative_leases=message.speculative_leases, arithmetic=message.arithmetic,
        any_arithmetic=message.any_arithmetic, other_arithmetic=tuple(message.other_arithmetic),
        data=message.data, mean_timings=timings, checkpoint=checkpoint,
        training=_points(message.training), evaluations=_points(message.evaluations))


def statistics_request(layer: str, last: int, first_step: int, last_step: int) -> Any:
    """GetUpdateStatisticsRequest."""
    return _protocol.message("GetUpdateStatisticsRequest")(
        layer=layer, last=last, first_step=first_step, last_step=last_step)


def watch_request(layer: str, last: int) -> Any:
    """WatchUpdateStatisticsRequest."""
    return _protocol.message("WatchUpdateStatisticsRequest")(layer=layer, last=last)


def step_from(message: Any) -> StepStatistics:
    """From a StepStatistics."""
    return StepStatistics(message.step, tuple(
        TensorStatistics(each.step, each.tensor, each.layer, each.entries, each.gradient_l1,
                         each.gradient_l2, each.weight_l1, each.weight_l2, each.rate,
                         each.multiplier, each.relative_delta, each.sgd_relative_delta)
        for each in message.updates), message.skipped_steps)


def _name_memory(memory: SharedMemory, message: Any) -> None:
    message.process = memory.process
    message.file_descriptor = memory.descriptor
    message.key = memory.key


def pull_request(generation: int, step: int, memory: Optional[SharedMemory]) -> Any:
    """PullRequest; `memory` is offered."""
    request = _PullRequest(generation=generation, step=step)
    if memory is not None:
        _name_memory(memory, request.memory)
    return request


def chunk_from(message: Any) -> Tuple[str, int, bytes, int]:
    """Of a PullResponse: tensor, offset of the first value in entries, the values' bytes; or their
    number, if they are in the memory that was offered."""
    return message.tensor, message.begin, message.values, message.shared_values


def push_header(generation: int, lease: LeaseFields, memory: Optional[SharedMemory]) -> Any:
    """The first PushRequest of a stream; the values of later ones may be in `memory`."""
    request = _PushRequest()
    if memory is not None:
        _name_memory(memory, request.header.memory)
    request.header.generation = generation
    request.header.step = lease.step
    request.header.slot = lease.slot
    request.header.checkpoint = lease.checkpoint
    return request


def push_chunk(tensor: str, begin: int, values: bytes) -> Any:
    """A PushRequest with values."""
    return _PushRequest(tensor=tensor, begin=begin, values=values)


def push_shared(tensor: str, begin: int, count: int) -> Any:
    """A PushRequest whose values are in the memory."""
    return _PushRequest(tensor=tensor, begin=begin, shared_values=count)
