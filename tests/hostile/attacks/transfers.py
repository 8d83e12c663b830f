# SPDX-License-Identifier: Apache-2.0
"""Pushes and pulls of a worker that has no lease."""

import itertools
import random
import struct
from collections.abc import Iterator
from typing import Any

from tests.hostile.attacks.target import Target, again, attack, hold, message, progress_of

TENSORS = ("fc1/weights", "conv2/weights", "conv1/weights")


def stubs_of(target: Target, count: int = 8) -> list[Any]:
    """Returns stubs with a connection each."""
    return [target.stub("ParameterServer") for _ in range(count)]


@attack(certificate="worker-of-a-stranger")
def half_open_pushes(target: Target) -> None:
    """500 pushes that send a header and then nothing; opened again as they are refused."""
    request = message("PushRequest")
    request.header.generation = progress_of(target).generation

    def stream() -> Iterator[Any]:
        yield request
        target.rest()

    stubs = stubs_of(target)
    hold(target, 500, lambda number: stubs[number % 8].Push.future(stream()))


@attack(certificate="worker-of-a-stranger")
def four_bytes_a_slice(target: Target) -> None:
    """100 pushes for the current step that send one value of each tensor of the first shard."""
    generation = progress_of(target).generation
    viewer = target.stub("Coordinator", "viewer")

    def stream() -> Iterator[Any]:
        progress = viewer.GetProgress(message("GetProgressRequest", from_step=1 << 40), timeout=5)
        yield message("PushRequest", header=message("PushHeader", generation=generation,
                                                    step=progress.step))
        for name in TENSORS:
            yield message("PushRequest", tensor=name, begin=0, values=b"\0\0\0\0")
        target.rest()

    stubs = stubs_of(target)
    hold(target, 100, lambda number: stubs[number % 8].Push.future(stream()))


def chunks(source: random.Random) -> list[bytes]:
    """Returns values that no gradient has, and numbers of bytes that no slice has."""
    return [struct.pack("<f", value) * 4 for value in (float("nan"), float("inf"))] + [
        bytes(3), source.randbytes(1 << 20)]


def push_gradients(target: Target, steps: list[int]) -> None:
    """Pushes made-up gradients for these steps, counted from the current one."""
    progress = progress_of(target)
    source = random.Random(1)
    values = itertools.cycle(chunks(source))
    stub = stubs_of(target, 1)[0]

    def stream() -> Iterator[Any]:
        yield message("PushRequest", header=message(
            "PushHeader", generation=progress.generation,
            step=max(0, progress.step + source.choice(steps)), slot=source.randrange(3)))
        for name in (*TENSORS, "no/such\n\x1b[2J", "x" * 1_000_000):
            yield message("PushRequest", tensor=name, begin=source.choice([0, 1, -1, 1 << 40]),
                          values=next(values))
    again(target, lambda: stub.Push(stream(), timeout=2))


@attack(certificate="viewer", by_role=True)
def gradients_of_a_viewer(target: Target) -> None:
    """Made-up gradients for the current steps, by a viewer."""
    push_gradients(target, [0, 1, 2, 3, 4])


@attack(certificate="worker-of-a-stranger")
def bad_gradients(target: Target) -> None:
    """Gradients that are not finite, too long, misplaced, of steps that are over or far ahead."""
    push_gradients(target, [-1, -2, 1 << 40])


@attack(certificate="worker-of-a-stranger")
def abandoned_pulls(target: Target) -> None:
    """Pulls of all weights that are given up when the first bytes have come."""
    generation = progress_of(target).generation
    viewer = target.stub("Coordinator", "viewer")
    stub = stubs_of(target, 1)[0]

    def pull() -> None:
        step = viewer.GetProgress(message("GetProgressRequest", from_step=1 << 40), timeout=5).step
        call = stub.Pull(message("PullRequest", generation=generation, step=step), timeout=2)
        next(call)
        call.cancel()
    again(target, pull)
