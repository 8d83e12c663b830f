#!/usr/bin/python3
"""Prints the paper's Figure 1 for a running cluster.

For each of the given steps and each layer's weights: by how much of its own L1 norm PercentDelta
changed the tensor, and by how much plain SGD at the same rate would have changed it, on a log
scale. Waits until the training has come that far.

A client that shares nothing with the project but proto/: its stubs are generated when it runs, with
protoc and gRPC's Python plugin (Debian: python3-grpcio, python3-protobuf, protobuf-compiler and
protobuf-compiler-grpc).
"""

import argparse
import importlib
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

PROTOS = ("job", "statistics", "coordinator")
STUBS = ("statistics_pb2", "statistics_pb2_grpc", "coordinator_pb2", "coordinator_pb2_grpc")
POLL_SECONDS = 0.2
# How long the statistics of the last steps may take after the training has ended.
SETTLE_SECONDS = 3
CALL_SECONDS = 5
BAR_CELLS = 40
EIGHTHS = " ▏▎▍▌▋▊▉"


class Failure(Exception):
    """What is told to the user, in one message."""


def load_grpc():
    """Returns the module grpc, or says which packages are missing."""
    try:
        importlib.import_module("google.protobuf")
        return importlib.import_module("grpc")
    except ImportError as error:
        raise Failure(f"{error}: needs Debian's python3-grpcio and python3-protobuf "
                      f"(deploy/install-packages test), and runs on /usr/bin/python3; "
                      f"this is {sys.executable}") from error


def load_stubs(proto_folder, folder):
    """Generates the stubs into `folder` and imports them, by the names of their files."""
    if not (proto_folder / "percentdelta/v1/statistics.proto").is_file():
        raise Failure(f"no percentdelta/v1/statistics.proto in {proto_folder} (--proto names "
                      f"another folder)")
    programs = {name: shutil.which(name) for name in ("protoc", "grpc_python_plugin")}
    for name, path in programs.items():
        if path is None:
            raise Failure(f"{name} is not on PATH: needs Debian's protobuf-compiler and "
                          f"protobuf-compiler-grpc (deploy/install-packages test)")
    result = subprocess.run(
        [programs["protoc"], f"--proto_path={proto_folder}", f"--python_out={folder}",
         f"--grpc_python_out={folder}",
         f"--plugin=protoc-gen-grpc_python={programs['grpc_python_plugin']}",
         *(f"percentdelta/v1/{name}.proto" for name in PROTOS)],
        check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"protoc failed:\n{result.stderr.strip()}")
    sys.path.insert(0, folder)
    return {name: importlib.import_module(f"percentdelta.v1.{name}") for name in STUBS}


class Cluster:
    """The calls made to a cluster, at its coordinator's address."""

    def __init__(self, grpc, stubs, address):
        self._grpc = grpc
        self._stubs = stubs
        channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self._statistics = stubs["statistics_pb2_grpc"].StatisticsStub(channel)
        self._coordinator = stubs["coordinator_pb2_grpc"].CoordinatorStub(channel)

    def updates(self, first_step, last_step):
        """The retained steps of an inclusive range, by number, and the oldest that is retained.

        Raises ConnectionError when nobody is there, or not yet.
        """
        request = self._stubs["statistics_pb2"].GetUpdateStatisticsRequest(
            first_step=first_step, last_step=last_step)
        response = self._call(self._statistics.GetUpdateStatistics, request)
        # A last_step of 0 means the newest.
        steps = {step.step: step.updates for step in response.steps if step.step <= last_step}
        return steps, response.oldest_step

    def progress(self):
        """The coordinator's progress."""
        return self._call(self._coordinator.GetProgress,
                          self._stubs["coordinator_pb2"].GetProgressRequest())

    def ended(self, progress):
        """Why there will be no further steps, or None."""
        states = self._stubs["coordinator_pb2"].GetProgressResponse
        if progress.state == states.FINISHED:
            return f"the training finished at step {progress.step}"
        if progress.state == states.FAILED:
            return f"the training failed: {progress.message}"
        return None

    def _call(self, method, request):
        try:
            return method(request, timeout=CALL_SECONDS)
        except self._grpc.RpcError as error:
            code = self._grpc.StatusCode
            text = f"{error.code().name}: {error.details()}"
            if error.code() in (code.UNAVAILABLE, code.DEADLINE_EXCEEDED):
                raise ConnectionError(text) from error
            raise Failure(text) from error


def wait_for(cluster, address, wanted, timeout):
    """The updates of the wanted steps, by step."""
    began = time.monotonic()
    deadline = began + timeout
    found = {}
    while True:
        missing = [step for step in wanted if step not in found]
        try:
            progress = cluster.progress()
            steps, oldest = cluster.updates(missing[0], missing[-1])
            found.update({step: steps[step] for step in missing if step in steps})
            missing = [step for step in wanted if step not in found]
            if not missing:
                return found
            if 0 <= missing[0] < oldest:
                raise Failure(f"step {missing[0]} is no longer retained: the oldest is {oldest}")
            state = f"the cluster at {address} is at step {progress.step}"
            ended = cluster.ended(progress)
            if ended:
                state = ended
                deadline = min(deadline, time.monotonic() + SETTLE_SECONDS)
        except ConnectionError as error:
            state = f"no answer from {address}: {error}"
        if time.monotonic() > deadline:
            waited = time.monotonic() - began
            raise Failure(f"no statistics of step {missing[0]} after {waited:.0f} s; {state}")
        time.sleep(POLL_SECONDS)


def bar(value, low, high):
    """The value's place between the powers of ten `low` and `high`, as a bar."""
    share = (math.log10(value) - low) / (high - low) if value > 0 else 0
    eighths = round(share * BAR_CELLS * 8)
    text = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
    return text.ljust(BAR_CELLS)


def print_figure(steps):
    """Prints the bars of {step: updates}."""
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
        raise Failure(f"a relative delta that is negative or no number: {values}")
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


def parse_steps(text):
    """A comma-separated list of steps, ascending and each once."""
    try:
        steps = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers as in 0,15,30") from None
    if steps[0] < 0:
        raise argparse.ArgumentTypeError(f"step {steps[0]} is negative")
    return steps


def main():
    parser = argparse.ArgumentParser(
        description="Prints the paper's Figure 1 for a running cluster.")
    parser.add_argument("address", help="HOST:PORT of the coordinator")
    parser.add_argument("--steps", type=parse_steps, default="0,15,30,45", metavar="N,...",
                        help="the steps to show (default: the paper's, %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS",
                        help="how long to wait for them (default: %(default)s)")
    parser.add_argument("--proto", type=pathlib.Path, metavar="FOLDER",
                        default=pathlib.Path(__file__).resolve().parents[2] / "proto",
                        help="the project's proto folder (default: beside this program's)")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        grpc = load_grpc()
        with tempfile.TemporaryDirectory() as folder:
            stubs = load_stubs(arguments.proto, folder)
            cluster = Cluster(grpc, stubs, arguments.address)
            print_figure(wait_for(cluster, arguments.address, arguments.steps, arguments.timeout))
    except Failure as failure:
        sys.stdout.flush()
        print(f"figure1: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
