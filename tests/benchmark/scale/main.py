# SPDX-License-Identifier: Apache-2.0
"""Trains a job of 100 million parameters with a worker whose gradients cost nothing."""

import argparse
import dataclasses
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from deploy.project import Binaries, Failure, RELEASE, ROOT
from tests.benchmark.machine import describe
from tests.benchmark.scale.memory import PeakMemory

sys.path.insert(0, str(ROOT / "client/python/src"))

import percentdelta as pd  # noqa: E402  (the path comes first)
from tests.benchmark.scale.job import SHARDS, make_job, model_bytes  # noqa: E402

WORKER = pathlib.Path(__file__).with_name("worker.py")
PYTHON = "/usr/bin/python3"
MOST_SERVER = 5.0  # times its share: weights, velocity, the step before, staged gradients
MOST_WORKER = 2.5  # times the model
WAYS = {"lease": "the lease's arrays", "one": "made, pushed, forgotten, one by one",
        "own": "arrays of the worker's own, all held"}
BOUNDED = ("lease", "one")  # the third holds a copy of the model that the package cannot know of


@dataclasses.dataclass(frozen=True)
class Result:
    """Of a training."""

    pull: float  # seconds a step, the servers' update included
    push: float  # seconds a step
    worker: float  # peak memory, times the model
    server: float  # peak memory of the server that has most, times its share of the model


def parse_arguments() -> argparse.Namespace:
    """Returns the command line's."""
    parser = argparse.ArgumentParser(
        prog="tests/benchmark/scale/run", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
Trains a job of 100 million parameters (PercentDelta, momentum, one gradient a step) on {SHARDS} servers
with one Python worker whose gradients cost nothing, by shared memory and by the connection. Prints the
rate at which weights and gradients move, updates included, and the peak memory as multiples of the
model: of the worker against {MOST_WORKER}, and of each server, of its share of the model,
against {MOST_SERVER}.

Counted are a process's private memory, the interpreter's and the gradients' included, and the shared
memory that it has made; not the files of programs and libraries. Shared memory is counted once, at the
worker that makes it. Exits with 1 if a bound is broken. Takes a minute, and 4 GB of memory.""")
    parser.add_argument("--steps", type=int, default=10, help="of each training (default: 10)")
    return parser.parse_args()


def train(transport: str, way: str, steps: int) -> Result:
    """Runs one training."""
    with pd.LocalCluster(make_job(steps), SHARDS, server=Binaries(RELEASE).server) as cluster, \
            tempfile.TemporaryFile("w+") as errors, \
            subprocess.Popen([PYTHON, "-B", WORKER, cluster.address, transport, way], text=True,
                             stdout=subprocess.PIPE, stderr=errors) as worker:
        servers = {f"server {shard}": pid for shard, pid in enumerate(cluster.pids)}
        with PeakMemory({"worker": worker.pid, **servers}) as memory:
            assert worker.stdout is not None
            times = [tuple(map(float, line.split())) for line in worker.stdout]
        if worker.wait() != 0 or len(times) != steps:
            errors.seek(0)
            raise Failure(f"the worker ended with exit code {worker.returncode} after {len(times)} of "
                          f"{steps} steps:\n{errors.read()}")
    peaks = memory.peaks
    # The first step allocates, the second begins with what that left; the last pulls nothing ahead.
    steady = times[2:-1]
    return Result(
        statistics.median(pull for pull, _ in steady), statistics.median(push for _, push in steady),
        peaks["worker"] / model_bytes(),
        max(peaks[name] for name in servers) / (model_bytes() / SHARDS))


def main() -> int:
    """Returns the exit code."""
    arguments = parse_arguments()
    if arguments.steps < 4:
        raise SystemExit("run: --steps: expected at least 4")
    began = time.monotonic()
    print(describe())
    print(f"{model_bytes() / 1e6:.0f} MB of weights, {SHARDS} servers\n")
    print(f"{'transport':14} {'gradients':37} {'pull':>8} {'push':>8} {'both':>9} {'worker':>7} "
          f"{'server':>7}")
    broken = []
    for transport in ("shared_memory", "connection"):
        for way, what in WAYS.items():
            result = train(transport, way, arguments.steps)
            rate = 2 * model_bytes() / (result.pull + result.push) / 1e9
            print(f"{transport:14} {what:37} {1e3 * result.pull:5.0f} ms {1e3 * result.push:5.0f} ms "
                  f"{rate:4.1f} GB/s {result.worker:5.2f} x {result.server:5.2f} x", flush=True)
            for name, value, most in (("worker", result.worker, MOST_WORKER),
                                      ("server", result.server, MOST_SERVER)):
                if value > most and (way in BOUNDED or name == "server"):
                    broken.append(f"{transport}, {what}: the {name}: expected at most {most} x, got "
                                  f"{value:.2f} x")
    for line in broken:
        print(f"run: FAILED: {line}", file=sys.stderr)
    print(f"\n{'FAILED' if broken else 'passed'} after {time.monotonic() - began:.0f} s")
    return 1 if broken else 0
