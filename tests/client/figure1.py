#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the paper's Figure 1 for a running cluster.

For each of the given steps and each layer's weights: by how much of its own L1 norm PercentDelta
changed the tensor, and by how much plain SGD at the same rate would have changed it, on a log
scale. Waits until the training has come that far.

Uses the Python package from client/python of this checkout (Debian: python3-grpcio,
python3-protobuf, python3-numpy and protobuf-compiler).
"""

from __future__ import annotations

import argparse
import importlib
import io
import math
import pathlib
import sys
import time
import types
from typing import Any, cast

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "client/python/src"
POLL_SECONDS = 0.2
# How long the statistics of the last steps may take after the training has ended.
SETTLE_SECONDS = 3
CALL_SECONDS = 5
SECURITY = ("tls_ca", "tls_cert", "tls_key")
BAR_CELLS = 40
EIGHTHS = " ▏▎▍▌▋▊▉"


class Failure(Exception):
    """A message to the user."""


def load_package() -> types.ModuleType:
    """Returns the module percentdelta, or says which packages are missing."""
    sys.path.insert(0, str(PACKAGE))
    try:
        return importlib.import_module("percentdelta")
    except ImportError as error:
        raise Failure(f"{error}: needs Debian's python3-grpcio, python3-protobuf, python3-numpy "
                      f"and protobuf-compiler (deploy/install-packages test), and runs on "
                      f"/usr/bin/python3; this is {sys.executable}") from error


def ended(status: Any) -> str | None:
    """Returns why there will be no further steps, or None."""
    if status.state == "finished":
        return f"the training finished at step {status.step}"
    if status.state == "failed":
        return f"the training failed: {status.message}"
    return None


def wait_for(client: Any, wanted: list[int], timeout: float) -> dict[int, list[Any]]:
    """Returns the statistics of the wanted steps' tensors, by step."""
    began = time.monotonic()
    deadline = began + timeout
    found: dict[int, list[Any]] = {}
    while True:
        missing = [step for step in wanted if step not in found]
        try:
            status = client.status()
            statistics = client.statistics(first_step=missing[0], last_step=missing[-1])
            found.update({step.step: step.tensors for step in statistics if step.step in missing})
            missing = [step for step in wanted if step not in found]
            if not missing:
                return found
            if 0 <= missing[0] < statistics.oldest_step:
                raise Failure(f"step {missing[0]} is no longer retained: the oldest is "
                              f"{statistics.oldest_step}")
            state = f"the cluster at {client.address} is at step {status.step}"
            if end := ended(status):
                state = end
                deadline = min(deadline, time.monotonic() + SETTLE_SECONDS)
        except (ConnectionError, TimeoutError) as error:
            state = str(error)
        if time.monotonic() > deadline:
            waited = time.monotonic() - began
            raise Failure(f"no statistics of step {missing[0]} after {waited:.0f} s; {state}")
        time.sleep(POLL_SECONDS)


def bar(value: float, low: int, high: int) -> str:
    """Returns the value's place between the powers of ten `low` and `high`, as a bar."""
    share = (math.log10(value) - low) / (high - low) if value > 0 else 0
    eighths = round(share * BAR_CELLS * 8)
    text = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
    return text.ljust(BAR_CELLS)


def print_figure(steps: dict[int, list[Any]]) -> None:
    """Prints the bars of {step: statistics of its tensors}."""
    bars = {}
    for step, updates in sorted(steps.items()):
        weights = [update for update in updates if update.tensor.endswith("/weights")]
        if not weights:
            names = ", ".join(update.tensor for update in updates) or "none"
            raise Failure(f"step {step} has no tensors called LAYER/weights; its tensors: {names}")
        bars[step] = weights
    values = [value for weights in bars.values() for update in weights
              for value in (update.relative_delta, update.sgd_relative_delta)]
    if any(not math.isfinite(value) or value < 0 for value in values):
        raise Failure(f"a relative delta that is negative or not a number: {values}")
    positive = [value for value in values if value > 0] or [1.0]
    low = math.floor(math.log10(min(positive)) - 0.5)
    high = max(math.ceil(math.log10(max(positive))), low + 1)

    width = max(len(update.layer) for weights in bars.values() for update in weights)
    rules = (("PercentDelta", "relative_delta"), ("SGD", "sgd_relative_delta"))
    indent = " " * (width + 2 + 13)
    print("||delta W||_1 / ||W||_1 of each layer's weights, log scale")
    for step, weights in bars.items():
        axis = f"1e{low}".ljust(BAR_CELLS - len(f"1e{high}")) + f"1e{high}"
        print(f"\n{f'Step {step}'.ljust(len(indent))}{axis}")
        for update in weights:
            layer = update.layer
            for rule, field in rules:
                value = getattr(update, field)
                print(f"{layer:<{width}}  {rule:<13}{bar(value, low, high)}  {value:.3e}")
                layer = ""


def parse_steps(text: str) -> list[int]:
    """Parses a comma-separated list of steps, ascending and each once."""
    try:
        steps = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a list of numbers as in 0,15,30") from None
    if steps[0] < 0:
        raise argparse.ArgumentTypeError(f"step {steps[0]} is negative")
    return steps


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Prints the paper's Figure 1 for a running cluster.")
    parser.add_argument("address", help="HOST:PORT of the coordinator")
    parser.add_argument("--steps", type=parse_steps, default="0,15,30,45", metavar="N,...",
                        help="the steps to show (default: the paper's, %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS",
                        help="how long to wait for them (default: %(default)s)")
    for name in SECURITY:
        parser.add_argument(f"--{name}", metavar="FILE",
                            help="of the connection: see docs/security.md")
    arguments = parser.parse_args()
    security = {name: getattr(arguments, name) for name in SECURITY}
    cast(io.TextIOWrapper, sys.stdout).reconfigure(encoding="utf-8")
    try:
        percentdelta = load_package()
        try:
            with percentdelta.Client(arguments.address, deadline=CALL_SECONDS, **security,
                                     retry=percentdelta.RetryPolicy(give_up_after=0)) as client:
                print_figure(wait_for(client, arguments.steps, arguments.timeout))
        except percentdelta.Error as error:
            raise Failure(str(error)) from error
    except Failure as failure:
        sys.stdout.flush()
        print(f"figure1: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
