# SPDX-License-Identifier: Apache-2.0
"""A worker's calls of the coordinator, more or other than is good."""

import itertools
import random
import time
from typing import Any

from tests.hostile.attacks.servers import FORGED, LONG_NAME
from tests.hostile.attacks.target import ERRORS, Target, again, attack, hold, message, progress_of

STRANGER = "worker-of-a-stranger"


def coordinators(target: Target, count: int = 8) -> list[Any]:
    """Returns stubs with a connection each."""
    return [target.stub("Coordinator") for _ in range(count)]


def lease_request(target: Target) -> Any:
    """Returns what a good worker would ask."""
    progress = progress_of(target)
    return message("AcquireLeaseRequest", worker="hostile", arithmetic=progress.arithmetic,
                   data=progress.data, max_wait_ms=30_000)


@attack(certificate=STRANGER)
def waiting_leases(target: Target) -> None:
    """4,000 calls for a lease at a time, of as many workers that compute nothing."""
    stubs = coordinators(target)
    request = lease_request(target)

    def begin(number: int) -> Any:
        request.worker = f"hostile-{number % 4000}"
        return stubs[number % 8].AcquireLease.future(request)
    hold(target, 4000, begin)


@attack(certificate=STRANGER)
def refused_leases(target: Target) -> None:
    """The same with another arithmetic than that of the others."""
    stubs = coordinators(target)
    request = lease_request(target)
    request.arithmetic += "-wrong"

    def begin(number: int) -> Any:
        request.worker = f"hostile-{number % 4000}"
        return stubs[number % 8].AcquireLease.future(request)
    hold(target, 4000, begin)


@attack(certificate=STRANGER, first=True)
def first_arithmetic(target: Target) -> None:
    """Made-up arithmetic, named before the first worker has called."""
    stub = coordinators(target, 1)[0]
    again(target, lambda: stub.AcquireLease(message(
        "AcquireLeaseRequest", worker="hostile", arithmetic="made-up", data="made-up",
        max_wait_ms=100), timeout=5), 0.05)


def take_leases(target: Target, renew: bool) -> None:
    """Takes leases as 4 workers, and computes nothing."""
    request = lease_request(target)
    request.max_wait_ms = 1000
    stubs = iter(coordinators(target, 4))
    numbers = iter(range(4))

    def worker() -> None:
        stub, name = next(stubs), f"hostile-{next(numbers)}"
        while target.left() > 0:
            try:
                own = message("AcquireLeaseRequest")
                own.CopyFrom(request)
                own.worker = name
                lease = stub.AcquireLease(own, timeout=5)
                while renew and lease.lease_id and target.left() > 0:
                    time.sleep(0.2)
                    stub.RenewLease(message("RenewLeaseRequest", generation=lease.generation,
                                            lease_id=lease.lease_id, worker=name), timeout=5)
                    target.count("renewed")
                target.count("a lease" if lease.lease_id else "no lease")
            except ERRORS as error:
                target.count(getattr(error, "details", str)() or "an error")
                time.sleep(0.01)
    again(target, worker, threads=4)


@attack(certificate=STRANGER)
def renewed_leases(target: Target) -> None:
    """4 workers that take leases and renew them, and compute nothing."""
    take_leases(target, renew=True)


@attack(certificate=STRANGER)
def dropped_leases(target: Target) -> None:
    """4 workers that take leases and let them expire."""
    take_leases(target, renew=False)


def report(target: Target, **result: Any) -> None:
    """Reports results for leases of others, and for one that was taken for it."""
    stub = coordinators(target, 1)[0]
    request = lease_request(target)
    request.max_wait_ms = 10
    generation = progress_of(target).generation
    source = random.Random(1)
    numbers = itertools.count(1)

    def send() -> None:
        number = next(numbers)
        lease_id, request.worker = source.getrandbits(64), f"hostile-{number % 5}"
        if number % 10 == 0:
            lease_id = stub.AcquireLease(request, timeout=5).lease_id or lease_id
        stub.CompleteLease(message("CompleteLeaseRequest", generation=generation, lease_id=lease_id,
                                   worker=request.worker, **result), timeout=5)
    again(target, send)


@attack(certificate=STRANGER)
def leases_of_others(target: Target) -> None:
    """Results of leases of others, and of some of its own with wrong numbers of examples."""
    report(target, examples=-1)


@attack(certificate=STRANGER)
def made_up_failures(target: Target) -> None:
    """Reports of 5 workers that the work fails: leases of others, and their own."""
    report(target, failure="it does not work\n\x1b[2J" + "x" * 100_000)


@attack(certificate=STRANGER)
def made_up_results(target: Target) -> None:
    """Reports of 5 workers that the work is done, without a gradient."""
    report(target, examples=20, loss_sum=1.0, correct=1)


@attack(certificate=STRANGER)
def worker_names(target: Target) -> None:
    """As many names of workers as possible: short, of 1 MB, and with control characters."""
    stub = coordinators(target, 1)[0]
    request = lease_request(target)
    generation = progress_of(target).generation
    numbers = itertools.count()

    def send() -> None:
        number = next(numbers)
        request.worker = {0: LONG_NAME, 1: FORGED + str(number)}.get(number % 20, f"w{number}")
        stub.RenewLease(message("RenewLeaseRequest", generation=generation, lease_id=1,
                                worker=request.worker), timeout=5)
    again(target, send)


@attack(certificate=STRANGER)
def cancelled_calls(target: Target) -> None:
    """Calls that are given up at once."""
    stub = coordinators(target, 1)[0]
    request = message("AcquireLeaseRequest", worker="hostile", max_wait_ms=30_000)
    again(target, lambda: stub.AcquireLease.future(request).cancel())


@attack(certificate=STRANGER)
def huge_messages(target: Target) -> None:
    """Messages of 7 MiB where a few bytes are expected."""
    stub = coordinators(target, 1)[0]
    request = message("RenewLeaseRequest", worker="x" * (7 << 20))
    again(target, lambda: stub.RenewLease(request, timeout=5))
