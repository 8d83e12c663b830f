"""Clusters that may not exist: 1..1024 workers, 1..64 shards, 10 and 100 Gbit/s."""

import csv
import gc
import multiprocessing

import costs
import formula
from model import Shape
from simulator import seconds_per_step

WORKERS = [2 ** power for power in range(11)]
SHARDS = [2 ** power for power in range(7)]
GBIT = [10, 100]
MOST_SLOTS = 1024  # common/job/job_codec.cc

# What a step is made of: slots, of so many workers.
MODES = {
    "1 slot a worker": lambda workers: workers,
    "4 slots a worker": lambda workers: 4 * workers,
    "64 slots": lambda workers: 64,
}

WORKER_THREADS = 2  # and cores: a worker is as fast as on the machine that was measured
SERVER_CORES = 16
LATENCY = 20e-6  # seconds one way: a data centre's network
UNLIMITED = 1 << 30
COLUMNS = ["mode", "gbit", "workers", "shards", "slots", "ms_per_step", "examples_per_second",
           "efficiency", "formula_ms", "limit"]


def shape_of(workers, shards, slots, gbit):
    """A cluster of the sweep. It lets any number of workers push at a time, which today's servers
    do not (model.py, PUSHES_AT_ONCE)."""
    return Shape(workers, shards, slots, worker_cores=WORKER_THREADS, server_cores=SERVER_CORES,
                 bandwidth=gbit * 1e9 / 8, latency=LATENCY, pushes_at_once=UNLIMITED)


def _simulate(task):
    mode, gbit, workers, shards, slots, measured, batch_size = task
    gc.disable()  # what is thrown away is taken back when the process ends
    cost = costs.costs_of(measured, WORKER_THREADS)
    shape = shape_of(workers, shards, slots, gbit)
    seconds, _ = seconds_per_step(cost, shape)
    chains = formula.chains(cost, shape) if slots == workers else {}
    limit = max(chains, key=chains.get, default="")
    alone = cost.gather + cost.marks[-1][2]  # a gradient without a cluster
    row = [mode, gbit, workers, shards, slots, f"{1e3 * seconds:.2f}",
           f"{slots * batch_size / seconds:.0f}",
           f"{slots * alone / seconds / min(workers, slots):.3f}",
           f"{1e3 * chains[limit]:.2f}" if chains else "", limit]
    return dict(zip(COLUMNS, row))


def sweep(path, batch_size):
    """Simulates all of it, on all cores, into a CSV file; minutes."""
    measured = costs.read()
    tasks = [(mode, gbit, workers, shards, slots(workers), measured, batch_size)
             for mode, slots in MODES.items() for gbit in GBIT for workers in WORKERS
             for shards in SHARDS
             if slots(workers) <= MOST_SLOTS and workers <= max(slots(workers), 1)]
    order = sorted(range(len(tasks)), key=lambda index: -tasks[index][2] * tasks[index][3])
    with multiprocessing.Pool(maxtasksperchild=1) as pool:  # the longest first
        done = pool.imap(_simulate, [tasks[index] for index in order])
        rows = dict(zip(order, done))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[index] for index in range(len(tasks)))
    return [rows[index] for index in range(len(tasks))]
