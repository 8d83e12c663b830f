# SPDX-License-Identifier: Apache-2.0
"""Calls that only servers make: by a worker, and with the certificate of shard 1."""

import itertools
import random
from typing import Any

from tests.hostile.attacks.target import HOST, Target, again, attack, message, progress_of

LONG_NAME = "x" * 1_000_000
FORGED = "w\n2026-01-01T00:00:00.000Z I server-0 all is well\x1b[2J"
UNUSED_ADDRESS = f"{HOST}:1"


def heartbeats(target: Target) -> None:
    """Heartbeats as shards 0 and 1, with new incarnations."""
    progress = progress_of(target)
    stub = target.stub("Coordinator")
    shards = itertools.cycle([0, 1])
    again(target, lambda: stub.Heartbeat(message(
        "HeartbeatRequest", shard=next(shards), shard_count=2, job_hash=progress.job_hash,
        address=UNUSED_ADDRESS, incarnation=random.getrandbits(63), generation=progress.generation),
        timeout=5), 0.001)


@attack(certificate="worker-of-a-stranger")
def heartbeats_of_a_worker(target: Target) -> None:
    """Heartbeats for both shards, which exist, with new incarnations; by a worker."""
    heartbeats(target)


@attack(certificate="shard-1")
def heartbeats_of_a_server(target: Target) -> None:
    """The same, with the certificate of shard 1."""
    heartbeats(target)


@attack(certificate="shard-1")
def refused_heartbeats(target: Target) -> None:
    """Heartbeats of no shard of the cluster, with long addresses that forge log lines."""
    stub = target.stub("Coordinator")
    again(target, lambda: stub.Heartbeat(message(
        "HeartbeatRequest", shard=7, shard_count=2, job_hash=FORGED,
        address=LONG_NAME[:100_000] + ":1", incarnation=1), timeout=5))


def made_up_norms(target: Target) -> None:
    """Norms of tensors for the current steps."""
    generation = progress_of(target).generation
    coordinator = target.stub("Coordinator", "viewer")
    stub = target.stub("ParameterServer")
    tensors = itertools.cycle(["fc1/weights", "conv1/weights", "fc2/biases", FORGED, LONG_NAME])
    sums = message("NormSums", ratio_l1=1e300, gradient_l1=1e300, weight_l1=1, weight_l2_squared=1,
                   gradient_l2_squared=1e300)
    ahead = itertools.cycle([0, 1, 2, 1 << 40, -1])
    step: list[int] = [0, 0]

    def send() -> Any:
        if step[0] % 20 == 0:
            step[1] = coordinator.GetProgress(message("GetProgressRequest", from_step=1 << 40),
                                              timeout=5).step
        step[0] += 1
        return stub.ReduceNorms(message(
            "ReduceNormsRequest", generation=generation, step=step[1] + next(ahead),
            tensor=next(tensors), first_block=0, blocks=[sums], deltas=[1e30]), timeout=0.05)
    again(target, send, 0.002)


@attack(certificate="worker-of-a-stranger", by_role=True)
def norms_of_a_worker(target: Target) -> None:
    """Made-up norms for the current steps, by a worker."""
    made_up_norms(target)


@attack(certificate="worker-of-a-stranger")
def statistics_of_a_worker(target: Target) -> None:
    """Statistics with names of 1 MB, by a worker."""
    long_statistics(target)


@attack(certificate="shard-1")
def statistics_of_a_server(target: Target) -> None:
    """The same, with the certificate of shard 1."""
    long_statistics(target)


def long_statistics(target: Target) -> None:
    """Statistics with names of 1 MB."""
    generation = progress_of(target).generation
    stub = target.stub("Coordinator")
    step = itertools.count()
    again(target, lambda: stub.ReportStatistics(message(
        "ReportStatisticsRequest", generation=generation, updates=[message(
            "TensorStatistics", step=next(step) % 300, tensor=LONG_NAME, layer=LONG_NAME,
            entries=1)]), timeout=5))
