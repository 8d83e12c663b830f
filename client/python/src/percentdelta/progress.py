# SPDX-License-Identifier: Apache-2.0
"""How far a training is: what the coordinator knows, as plain data."""

from __future__ import annotations

import dataclasses
from typing import Dict, Optional, Tuple


@dataclasses.dataclass(frozen=True)
class ProgressPoint:
    """A mean over examples at the weights of `step`: a step's training batches, or the whole test
    set. `accuracy` in 0..1; `seconds` since the generation's first lease was given; `metrics`: the
    workers' own, by name (Lease.complete)."""

    step: int
    loss: float
    accuracy: float
    seconds: float
    metrics: Dict[str, float] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class CheckpointStatus:
    """`step`: of the newest complete one, -1: none yet. Counts since the coordinator's process
    began: `failures`, with the last one's `error` ("": the last one was written), and `skipped`,
    due while another was being written."""

    step: int
    under_way: bool
    failures: int
    error: str
    skipped: int


@dataclasses.dataclass(frozen=True)
class Timings:
    """Where the time of a training lease went, in seconds: waiting for weights, computing, waiting
    for the gradient to be taken."""

    pull: float
    compute: float
    push: float


@dataclasses.dataclass(frozen=True)
class Status:
    """The state of the training now.

    state        "gathering" (not all shards are there), "training", "finished", "failed", "paused",
                 "draining" (Client.drain() waits for its checkpoint) or "drained" (it is complete:
                 workers and servers are ending)
    message      why it failed, what is waited for, or what holds it up; may be ""
    step         whose gradients are being computed; max_steps when finished
    workers      heard of in the last minute
    examples_per_second  over the last minute; 0: not known yet
    arithmetic   how the workers compute; "": no worker yet
    any_arithmetic    the job takes workers that compute differently: the weights, and so their
                 checksum, depend on which worker computed which gradient
    other_arithmetic  with any_arithmetic: how others than the first worker compute, at most 16
    data         fingerprint of the workers' data; "": none has said
    mean_timings over the leases of the last minute; None: there were none
    checkpoint   None: the job has no checkpoints
    """

    state: str
    message: str
    job_name: str
    job_hash: str
    generation: int
    shards: int
    step: int
    max_steps: int
    workers: int
    examples_per_second: float
    expired_leases: int
    failed_leases: int
    duplicate_results: int
    speculative_leases: int
    arithmetic: str
    any_arithmetic: bool
    other_arithmetic: Tuple[str, ...]
    data: str
    mean_timings: Optional[Timings]
    checkpoint: Optional[CheckpointStatus]


@dataclasses.dataclass(frozen=True)
class Progress(Status):
    """The state and the history, by ascending step; the coordinator retains a bounded number."""

    training: Tuple[ProgressPoint, ...]
    evaluations: Tuple[ProgressPoint, ...]
