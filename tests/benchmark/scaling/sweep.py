# SPDX-License-Identifier: Apache-2.0
"""Clusters that need not exist: 1..1024 workers, 1..64 shards, 10 and 100 Gbit/s."""

import csv
import gc
import multiprocessing
import pathlib
from collections.abc import Callable
from typing import Any

from tests.benchmark.scaling import costs, formula
from tests.benchmark.scaling.model import Shape
from tests.benchmark.scaling.simulator import seconds_per_step

WORKERS: list[int] = [2 ** power for power in range(11)]
SHARDS: list[int] = [2 ** power for power in range(7)]
GBIT = [10, 100]
MOST_SLOTS = 1024  # common/job/job_codec.cc

# The slots of a step, by the number of workers.
MODES: dict[str, Callable[[int], int]] = {
    "1 slot a worker": lambda workers: workers,
    "4 slots a worker": lambda workers: 4 * workers,
    "64 slots": lambda workers: 64,
}

# Mode, Gbit/s, workers, shards, slots, measurements, batch size.
Task = tuple[str, int, int, int, int, dict[str, Any], int]

WORKER_THREADS = 2  # and cores: a worker is as fast as on the machine that was measured
SERVER_CORES = 16
LATENCY = 20e-6  # seconds one way: a data centre's network
UNLIMITED = 1 << 30
COLUMNS = ["mode", "gbit", "workers", "shards", "slots", "ms_per_step", "examples_per_second",
           "efficiency", "formula_ms", "limit"]


def shape_of(workers: int, shards: int, slots: int, gbit: int) -> Shape:
    """Returns a cluster of the sweep. Any number of its workers may push at the same time, unlike
    today's servers (model.py, PUSHES_AT_ONCE)."""
    return Shape(workers, shards, slots, worker_cores=WORKER_THREADS, server_cores=SERVER_CORES,
                 bandwidth=gbit * 1e9 / 8, latency=LATENCY, pushes_at_once=UNLIMITED)


def _simulate(task: Task) -> dict[str, Any]:
    mode, gbit, workers, shards, slots, measured, batch_size = task
    gc.disable()  # the process ends soon
    cost = costs.costs_of(measured, WORKER_THREADS)
    shape = shape_of(workers, shards, slots, gbit)
    seconds, _ = seconds_per_step(cost, shape)
    chains: dict[str, float] = formula.chains(cost, shape) if slots == workers else {}
    limit = max(chains, key=lambda name: chains[name]) if chains else ""
    alone = cost.gather + cost.marks[-1][2]  # a gradient without a cluster
    row = [mode, gbit, workers, shards, slots, f"{1e3 * seconds:.2f}",
           f"{slots * batch_size / seconds:.0f}",
           f"{slots * alone / seconds / min(workers, slots):.3f}",
           f"{1e3 * chains[limit]:.2f}" if chains else "", limit]
    return dict(zip(COLUMNS, row))


def sweep(path: pathlib.Path, batch_size: int) -> list[dict[str, Any]]:
    """Simulates all clusters, on all cores, into a CSV file. Takes minutes."""
    measured = costs.read()
    tasks = [(mode, gbit, workers, shards, slots(workers), measured, batch_size)
             for mode, slots in MODES.items() for gbit in GBIT for workers in WORKERS
             for shards in SHARDS
             if slots(workers) <= MOST_SLOTS and workers <= max(slots(workers), 1)]

    def size(index: int) -> int:
        return tasks[index][2] * tasks[index][3]  # workers, shards

    order = sorted(range(len(tasks)), key=size, reverse=True)
    with multiprocessing.Pool(maxtasksperchild=1) as pool:  # the longest first
        done = pool.imap(_simulate, [tasks[index] for index in order])
        rows = dict(zip(order, done))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[index] for index in range(len(tasks)))
    return [rows[index] for index in range(len(tasks))]
