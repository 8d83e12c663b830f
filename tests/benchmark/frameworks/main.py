# SPDX-License-Identifier: Apache-2.0
"""Measures PyTorch workers against PyTorch, and this project against other frameworks."""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from deploy.project import Failure, JOBS, ROOT
from tests.benchmark.frameworks import groups, idx
from tests.benchmark.machine import describe

PYTHON = "/usr/bin/python3"  # Debian's
MOST_COST = 1.10  # bare steps
TENSORFLOW_GIGABYTES = 3  # of a virtual environment, with room for what pip unpacks
WORKERS = 2
COMPARISONS = ("cost", "throughput")
TRANSPORTS = ("shared_memory", "connection")
Say = Callable[[str], None]


def parse_arguments() -> argparse.Namespace:
    """Returns the command line's."""
    parser = argparse.ArgumentParser(
        prog="tests/benchmark/frameworks/run", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
Runs steps of the paper's network on batches of 500 at its initial weights, on this machine, and
compares them within one run: all take turns, in rounds, and rest while another one computes.

  cost        a step of one pd-server and one PyTorch worker, processes of their own, against PyTorch's
              bare loss and gradient, with 1 and 2 threads, by shared memory and by the connection.
              Exits with 1 if the ratio of medians by shared memory is above {MOST_COST}
  throughput  examples a second of {WORKERS} workers of one thread, with a batch of 500 each: this
              project's with workers in PyTorch and in C++ (one server), PyTorch's
              DistributedDataParallel (gloo), TensorFlow's ParameterServerStrategy (one server;
              asynchronous, as it is). TensorFlow is installed from PyPI into a temporary virtual
              environment, or left out, which is said

Installs Debian's PyTorch and what the build needs, as root or through sudo, and builds. Ten minutes
where nothing else runs.""")
    parser.add_argument("comparisons", nargs="*", metavar="cost|throughput")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--steps", type=int, default=5, help="of each in a round; default: 5")
    parser.add_argument("--python", default=PYTHON, help="an interpreter with PyTorch, gRPC and "
                        "protobuf, such as of a virtual environment; default: Debian's")
    parser.add_argument("--tensorflow", type=pathlib.Path, metavar="PYTHON",
                        help="an interpreter with TensorFlow, instead of installing it")
    parser.add_argument("--no-tensorflow", action="store_true", help="leaves it out")
    parser.add_argument("--output", type=pathlib.Path, help="writes all times there, as JSON")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.comparisons if name not in COMPARISONS]
    if unknown:
        parser.error(f"no comparison '{unknown[0]}'; there are {', '.join(COMPARISONS)}")
    return arguments


def measure(entries: Sequence[groups.Group], rounds: int, steps: int, say: Say
            ) -> dict[str, list[float]]:
    """Returns milliseconds a step, by group, one each round."""
    times: dict[str, list[float]] = {entry.name: [] for entry in entries}
    for entry in entries:
        entry.run(2)  # first, for what is allocated once
    for done in range(rounds):
        for entry in entries:
            times[entry.name].append(entry.run(steps))
        say(f"round {done + 1} of {rounds}")
    return times


def compare_cost(folder: pathlib.Path, arguments: argparse.Namespace, say: Say
                 ) -> tuple[dict[str, list[float]], list[str]]:
    """Returns the times, and what is above the bound."""
    times: dict[str, list[float]] = {}
    above = []
    print(f"{'step':58} {'median':>9} {'best':>9} {'ratio':>7} {'of best':>7}")
    for threads in (1, 2):
        with contextlib.ExitStack() as stack:
            entries = [stack.enter_context(groups.bare(folder, arguments.python, threads))]
            entries += [stack.enter_context(
                groups.torch_workers(folder, arguments.python, 1, threads, transport))
                for transport in TRANSPORTS]
            found = measure(entries, arguments.rounds, arguments.steps, say)
        times.update(found)
        limit = found[entries[0].name]
        for entry in entries:
            own = found[entry.name]
            ratio = statistics.median(own) / statistics.median(limit)
            print(f"{entry.name:58} {statistics.median(own):6.1f} ms {min(own):6.1f} ms {ratio:7.2f} "
                  f"{min(own) / min(limit):7.2f}", flush=True)
            if ratio > MOST_COST and "shared_memory" in entry.name:
                above.append(f"{entry.name}: expected at most {MOST_COST:.2f} bare steps, got "
                             f"{ratio:.2f}")
    return times, above


def compare_throughput(folder: pathlib.Path, arguments: argparse.Namespace, say: Say
                       ) -> dict[str, list[float]]:
    """Returns the times."""
    python = None if arguments.no_tensorflow else arguments.tensorflow or install_tensorflow(folder)
    data = folder / "data"
    idx.write(data)
    with contextlib.ExitStack() as stack:
        entries = [
            stack.enter_context(groups.distributed_data_parallel(folder, arguments.python, WORKERS)),
            *(stack.enter_context(groups.torch_workers(folder, arguments.python, WORKERS, 1, transport))
              for transport in TRANSPORTS),
            stack.enter_context(groups.cpp_workers(folder, WORKERS, cpp_job(), data))]
        if python is not None:
            entries.append(stack.enter_context(groups.tensorflow(folder, python, WORKERS)))
        times = measure(entries, arguments.rounds, arguments.steps, say)
    print(f"\n{'training':58} {'examples a second':>17} {'ratio':>7}")
    rates = {entry.name: 1e3 * entry.examples / statistics.median(times[entry.name])
             for entry in entries}
    for entry in entries:
        print(f"{entry.name:58} {rates[entry.name]:17.0f} "
              f"{rates[entry.name] / rates[entries[0].name]:7.2f}", flush=True)
    return times


def cpp_job() -> str:
    """Returns the C++ workers' job: the built-in one, as the others' are."""
    text = (JOBS / "mnist.textproto").read_text()
    for field, value in (("gradients_per_step", str(WORKERS)), ("max_steps", str(1 << 30)),
                         ("learning_rate", "1e-9"), ("training_examples", str(idx.EXAMPLES))):
        text, count = re.subn(rf"\b{field}: \S+", f"{field}: {value}", text)
        if count != 1:
            raise Failure(f"mnist.textproto: expected {field} once, got {count}")
    text = re.sub(r"(?m)^evaluation .*", "", text)
    return re.sub(r"test_examples: \d+", f"test_examples: {idx.EXAMPLES}", text)


def install_tensorflow(folder: pathlib.Path) -> pathlib.Path | None:
    """Installs it into a virtual environment; returns the interpreter. Says why if it cannot."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < TENSORFLOW_GIGABYTES:
        print(f"TensorFlow is left out: {folder} has {free:.1f} GB free, it takes "
              f"{TENSORFLOW_GIGABYTES} GB")
        return None
    home = folder / "tensorflow"
    python = home / "bin/python"
    for command in ([PYTHON, "-m", "venv", home],
                    [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install",
                     "--quiet", "tensorflow-cpu"]):
        result = subprocess.run([str(word) for word in command], check=False, capture_output=True,
                                text=True)
        if result.returncode != 0:
            print(f"TensorFlow is left out: it cannot be installed from PyPI:\n{result.stderr[-800:]}")
            return None
    return python


def prepare() -> None:
    """Installs and builds."""
    for command in (["deploy/install-packages", "build", "python", "torch"],
                    ["deploy/build", "release", "pd-server", "pd-worker"]):
        if subprocess.run([str(ROOT / command[0]), *command[1:]], check=False).returncode != 0:
            raise Failure(f"{' '.join(command)} failed")


def main() -> int:
    """Returns the exit code."""
    arguments = parse_arguments()
    wanted = arguments.comparisons or COMPARISONS
    began = time.monotonic()

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}   ", end="", file=sys.stderr, flush=True)

    times: dict[str, dict[str, list[float]]] = {}
    above: list[str] = []
    try:
        prepare()
        print(describe(), end="\n\n")
        with tempfile.TemporaryDirectory(prefix="pd-frameworks-") as name:
            folder = pathlib.Path(name)
            if "cost" in wanted:
                times["cost"], above = compare_cost(folder, arguments, say)
            if "throughput" in wanted:
                times["throughput"] = compare_throughput(folder, arguments, say)
    except Failure as failure:
        print(f"run: {failure}", file=sys.stderr)
        return 1
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(times, indent=1) + "\n")
    for line in above:
        print(f"run: FAILED: {line}", file=sys.stderr)
    print(f"\n{'FAILED' if above else 'done'} after {time.monotonic() - began:.0f} s")
    return 1 if above else 0
