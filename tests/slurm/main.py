# SPDX-License-Identifier: Apache-2.0
"""Trains MNIST on a Slurm cluster of three virtual nodes, disturbs it, and compares the weights.

Starts Debian's munged, slurmctld and three slurmd, as root, in namespaces of their own: no process,
port or file outlives the test. Submits 30 steps with deploy/slurm/launch, over TLS, on 2 servers and 3
workers. Lets the time limit come, takes down a node, ends and continues the training on 3 servers, adds
and removes workers with an array job, and takes down the node that supervises. At the end the weights
must be pd-local's.
"""

import argparse
import contextlib
import pathlib
import subprocess
import sys

from deploy.project import RELEASE, ROOT, Binaries
from tests.harness.commands import run, succeeds
from tests.harness.errors import Failure
from tests.harness.program import exit_code_of, make_clock, make_parser, run_program
from tests.slurm.cluster import SlurmCluster
from tests.slurm.scenario import Scenario

PROGRAM = "tests/slurm/run"
LIMIT_SECONDS = 600
# They end with this process, also if it is killed.
NAMESPACES = ("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--pid", "--net", "--mount-proc",
              "--fork", "--kill-child=KILL", "--")


def parse_arguments() -> argparse.Namespace:
    """Returns the flags."""
    parser = make_parser(PROGRAM, __doc__)
    parser.add_argument("--build", type=pathlib.Path, metavar="FOLDER",
                        help="take this build's programs (default: builds build/release)")
    parser.add_argument("--data", type=pathlib.Path, metavar="FOLDER",
                        help="the folder with the folder mnist (default: data, which is fetched)")
    parser.add_argument("--keep", action="store_true", help="keep all logs")
    parser.add_argument("--inside", type=pathlib.Path, help=argparse.SUPPRESS)  # the namespaces
    return parser.parse_args()


def prepare(arguments: argparse.Namespace) -> tuple[pathlib.Path, pathlib.Path]:
    """Installs, builds and fetches what is missing; returns the folders of programs and data."""
    run(ROOT / "deploy/install-packages", "slurm", "test")
    build, data = arguments.build, arguments.data
    if build is None:
        run(ROOT / "deploy/install-packages", "build")
        run(ROOT / "deploy/build", "release", "pd-server", "pd-worker", "pdctl", "pd-local")
        build = RELEASE
    if data is None:
        run(ROOT / "deploy/fetch-data")
        data = ROOT / "data"
    return build.resolve(), data.resolve()


def run_inside(arguments: argparse.Namespace) -> None:
    """Runs the test in the namespaces."""
    say = make_clock()
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(SlurmCluster(arguments.inside))
        say(f"Slurm's nodes are idle: {', '.join(cluster.nodes)}")
        scenario = Scenario(cluster, Binaries(arguments.build), arguments.data, say)
        stack.callback(scenario.close)
        for check in scenario.checks():
            check()
    say("passed")


def show_logs(folder: pathlib.Path) -> None:
    """Prints the end of the newest logs."""
    logs = sorted(folder.rglob("*.log"), key=lambda path: path.stat().st_mtime)
    for path in logs[-8:]:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        print("\n".join([f"--- {path.relative_to(folder)}", *lines]), file=sys.stderr)


def run_in_namespaces(arguments: argparse.Namespace, folder: pathlib.Path) -> int:
    """Starts this program again in namespaces, which end with it; returns the exit code."""
    build, data = prepare(arguments)
    if not succeeds(*NAMESPACES, "true"):
        raise Failure("expected to be root, and namespaces of processes and networks to be possible; "
                      f"{' '.join(NAMESPACES)} true fails")
    command = [*NAMESPACES, sys.executable, str(ROOT / PROGRAM), f"--inside={folder}",
               f"--build={build}", f"--data={data}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as test:
        try:
            code = test.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            show_logs(folder)
            raise Failure(f"the test has not ended after {LIMIT_SECONDS} s") from None
        finally:
            test.kill()  # and with it the namespaces
    if code != 0:
        show_logs(folder)
    return code


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    arguments = parse_arguments()
    if arguments.inside is not None:
        return exit_code_of(PROGRAM, lambda: run_inside(arguments))
    return run_program(PROGRAM, lambda folder: run_in_namespaces(arguments, folder), arguments.keep)
