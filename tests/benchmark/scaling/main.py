# SPDX-License-Identifier: Apache-2.0
"""Measures the costs for the model of docs/scaling.md, checks the simulator against real clusters, and
simulates clusters that do not exist.

Stages, in this order; without any, all but the first:

  measure  the constants, and steps of real clusters of processes on this machine, which should be idle
           otherwise: two and a half minutes a round. Builds what it needs; takes MNIST from --data.
           Writes tests/benchmark/scaling/measurements.json
  check    the simulator's predictions of those steps, as a table
  sweep    1..1024 workers x 1..64 shards at 10 and 100 Gbit/s: two minutes. Writes docs/scaling.csv
  plot     docs/scaling.png of that, with gnuplot
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys

from deploy.project import Failure, ROOT
from tests.benchmark.scaling import costs, measure, model, processes, simulator, sweep

STAGES = ("measure", "check", "sweep", "plot")
CSV = ROOT / "docs/scaling.csv"
PNG = ROOT / "docs/scaling.png"
TARGETS = ("pd-server", "pd-worker", "pdctl", "benchmarks", "gradient_marks", "null_worker")
SIMULATED_STEPS = 8


def run(*command: str | pathlib.Path) -> None:
    """Runs a command. Throws Failure if it fails."""
    if subprocess.run([str(word) for word in command], check=False).returncode != 0:
        raise Failure(f"{command[0]} failed")


def run_measure(arguments: argparse.Namespace) -> None:
    """Stage measure."""
    run(ROOT / "deploy/install-packages", "build")
    run(ROOT / "deploy/build", "release", *TARGETS)
    if not arguments.data.is_dir():
        raise Failure(f"no directory {arguments.data}: deploy/fetch-data fetches MNIST, "
                      "--data names another place")
    measured = measure.measure(arguments.rounds, arguments.data, lambda text: print(text, flush=True))
    measure.save(measured)
    print(f"measured: {costs.MEASUREMENTS.relative_to(ROOT)}")


def run_check(_: argparse.Namespace) -> None:
    """Stage check."""
    measured = costs.read()
    print("| workers | shards | slots | threads | predicted ms | measured ms | from..to | error |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    errors = []
    for step in measured["steps"]:
        shape = model.Shape(step["workers"], step["shards"], step["slots"],
                            server_cores=measured["cores"], one_host=True)
        cost = costs.costs_of(measured, step["threads"])
        predicted = 1e3 * simulator.seconds_per_step(cost, shape, steps=SIMULATED_STEPS)[0]
        error = predicted / step["median"] - 1
        errors.append(abs(error))
        threads = step["threads"] or "null"
        print(f"| {shape.workers} | {shape.shards} | {shape.slots} | {threads} | {predicted:.1f} "
              f"| {step['median']:.1f} | {step['least']:.1f}..{step['most']:.1f} "
              f"| {100 * error:+.0f} % |")
    print(f"\nerrors: median {100 * statistics.median(errors):.0f} %, "
          f"largest {100 * max(errors):.0f} %")


def run_sweep(_: argparse.Namespace) -> None:
    """Stage sweep."""
    found = re.search(r"(?m)^batch_size: (\d+)", processes.job_text())
    if found is None:
        raise Failure("the built-in job has no batch_size")
    rows = sweep.sweep(CSV, int(found.group(1)))
    errors = [abs(float(row["formula_ms"]) / float(row["ms_per_step"]) - 1)
              for row in rows if row["formula_ms"]]
    print(f"simulated: {CSV.relative_to(ROOT)}, {len(rows)} clusters; the formula's difference: "
          f"median {100 * statistics.median(errors):.1f} %, largest {100 * max(errors):.0f} %")


def run_plot(_: argparse.Namespace) -> None:
    """Stage plot."""
    run(ROOT / "deploy/install-packages", "plot")
    run("gnuplot", "-e", f"csv='{CSV}'; png='{PNG}'",
        pathlib.Path(__file__).with_name("scaling.gnuplot"))
    run("pngquant", "--force", "--strip", "--output", PNG, "64", PNG)
    print(f"drawn: {PNG.relative_to(ROOT)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     prog="tests/benchmark/scaling/run")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--rounds", type=int, default=3, help="of measure (default: 3)")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/mnist",
                        help="MNIST's directory (default: data/mnist)")
    arguments = parser.parse_args()
    for stage in arguments.stages:
        if stage not in STAGES:
            parser.error(f"no stage '{stage}'; there are {', '.join(STAGES)}")
    if arguments.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {arguments.rounds}")
    try:
        for stage in STAGES:
            if stage in (arguments.stages or STAGES[1:]):
                globals()["run_" + stage](arguments)
    except Failure as failure:
        print(f"tests/benchmark/scaling/run: {failure}", file=sys.stderr)
        return 1
    return 0
