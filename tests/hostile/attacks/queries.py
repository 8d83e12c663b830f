# SPDX-License-Identifier: Apache-2.0
"""What the holder of a viewer's certificate can ask, more than is good."""

import itertools
from collections.abc import Callable, Iterator

from tests.hostile.attacks.target import Target, again, attack, hold, message


@attack(certificate="viewer")
def cheap_calls(target: Target) -> None:
    """Statistics, progress and the job, as fast as one client can."""
    coordinator, statistics = target.stub("Coordinator"), target.stub("Statistics")
    calls: list[Callable[[], object]] = [
        lambda: coordinator.GetProgress(message("GetProgressRequest"), timeout=5),
        lambda: coordinator.GetJob(message("GetJobRequest"), timeout=5),
        lambda: statistics.GetUpdateStatistics(
            message("GetUpdateStatisticsRequest", last=10_000), timeout=5)]
    turn = itertools.cycle(calls)
    again(target, lambda: next(turn)())


@attack(certificate="viewer")
def refused_calls(target: Target) -> None:
    """Calls that a viewer may not make, as fast as 4 connections can."""
    turn = itertools.cycle([target.stub("Coordinator") for _ in range(4)])
    again(target, lambda: next(turn).TakeCheckpoint(message("TakeCheckpointRequest"), timeout=5),
          threads=4)


@attack(certificate="viewer")
def all_statistics(target: Target) -> None:
    """20 times a second all statistics, which are read."""
    stub = target.stub("Statistics")
    request = message("GetUpdateStatisticsRequest", last=10_000)
    again(target, lambda: stub.GetUpdateStatistics(request, timeout=5), 0.05)


@attack(certificate="viewer")
def long_layers(target: Target) -> None:
    """Statistics of layers with names of 1 MB and with control characters."""
    stub = target.stub("Statistics")
    names = itertools.cycle(["x" * 1_000_000, "fc1\n\x1b[2J", "\0" * 1000])
    again(target, lambda: stub.GetUpdateStatistics(
        message("GetUpdateStatisticsRequest", layer=next(names), last=1), timeout=5))


def hold_streams(target: Target, count: int, path: str) -> None:
    """Keeps that many streams open that ask nothing."""
    channels = [target.channel() for _ in range(8)]

    def stream() -> Iterator[bytes]:
        target.rest()
        yield b""
    calls = [channel.stream_stream(path) for channel in channels]
    hold(target, count, lambda number: calls[number % 8](stream()))


@attack(certificate="viewer")
def reflection_streams(target: Target) -> None:
    """2,000 streams of the reflection service that ask nothing."""
    hold_streams(target, 2000, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")


@attack(certificate="viewer")
def health_streams(target: Target) -> None:
    """1,000 watches of the health service that are not read."""
    calls = [target.channel().unary_stream("/grpc.health.v1.Health/Watch") for _ in range(8)]
    hold(target, 1000, lambda number: calls[number % 8](b""))
