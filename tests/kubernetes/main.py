# SPDX-License-Identifier: Apache-2.0
"""Trains MNIST on a real Kubernetes of one node, disturbs it, and compares the weights.

Starts etcd, API server, controllers, scheduler, CoreDNS, containerd and kubelet in namespaces of their
own, imports the project's image, and applies an overlay of deploy/kubernetes/overlays/local-storage: 2
servers and 2 workers over mTLS, 30 steps. Deletes a worker and each server, kills one, evicts one, kills
the whole node, adds a worker, and compares the final weights with pd-local's.

Needs root. Debian's packages are installed; Kubernetes' own programs are in ~/.cache/percentdelta, where
--build makes them from their published Go modules, once: 12 to 30 minutes. Everything that the test
starts is removed at the end: processes, mounts and network are in namespaces that end with it.

The bridge between pods does not enforce NetworkPolicies: the test shows that they are accepted, not that
they hold.
"""

import argparse
import contextlib
import pathlib

from deploy.project import ROOT, Binaries
from tests.harness.commands import run
from tests.harness.errors import Failure, Violation
from tests.harness.job import checkpoint_text, mnist_text
from tests.harness.local import MNIST, LocalTraining
from tests.harness.program import Say, make_clock, make_parser, run_program
from tests.kubernetes.image import build_archive
from tests.kubernetes.machine import Machine
from tests.kubernetes.node import Node
from tests.kubernetes.programs import Programs
from tests.kubernetes.scenario import Scenario, all_checks
from tests.kubernetes.training import Training

PROGRAM = "tests/kubernetes/run"
STEPS = 30


def parse_arguments() -> argparse.Namespace:
    """Returns the flags."""
    parser = make_parser(PROGRAM, __doc__)
    parser.add_argument("--build", action="store_true",
                        help="build the programs of Kubernetes that the cache lacks")
    parser.add_argument("--only-build", action="store_true", help="build them, and end")
    parser.add_argument("--image", type=pathlib.Path, metavar="FILE",
                        help="take the images from this archive; make it, if there is none")
    parser.add_argument("--binaries", type=pathlib.Path, metavar="FOLDER",
                        help="with an existing --image: the build of the same sources with pd-local, as "
                        "build/release")
    return parser.parse_args()


def provide_programs(build: bool, say: Say) -> Programs:
    """Returns the programs of Kubernetes; throws Failure if they are not there."""
    programs = Programs()
    if programs.missing and not build:
        raise Failure(f"{programs.folder} has no {', '.join(programs.missing)}: "
                      "tests/kubernetes/run --build makes them")
    if programs.missing:
        programs.build(say)
    return programs


def write_jobs(folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Writes pd-local's job, which has no checkpoints; returns it, and the text of the cluster's."""
    text = mnist_text(max_steps=STEPS)
    local = folder / "local.textproto"
    local.write_text(text, encoding="utf-8")
    return local, text + checkpoint_text("/checkpoints")


def test(arguments: argparse.Namespace, folder: pathlib.Path, say: Say) -> None:
    """Runs the test."""
    programs = provide_programs(arguments.build, say)
    run(ROOT / "deploy/install-packages", "kubernetes", "test")
    archive = (arguments.image or folder / "images.tar").resolve()
    local_job, job = write_jobs(folder)
    if archive.is_file() and arguments.binaries is not None:
        binaries = Binaries(arguments.binaries)
    else:
        building = folder / "images"
        building.mkdir()
        binaries = build_archive(archive, building, say)
    with contextlib.ExitStack() as stack:
        run(ROOT / "deploy/fetch-data")
        local = LocalTraining(binaries, local_job)
        stack.callback(local.close)
        local.start()
        state = folder / "node"
        state.mkdir()
        node = Node(stack.enter_context(Machine(state)), programs, say)
        node.start()
        node.import_images(archive)
        say("containerd has the images")
        training = Training(node, MNIST, job)
        expected = local.weights()
        say(f"pd-local's weights: {expected}")
        try:
            for check in all_checks(Scenario(training, expected, say)):
                check()
        except (Failure, Violation) as error:
            raise type(error)(f"{error}\n{training.events()}") from None
    say("passed")


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    arguments = parse_arguments()
    say = make_clock()

    def run_all(folder: pathlib.Path) -> None:
        if arguments.only_build:
            provide_programs(True, say)
        else:
            test(arguments, folder, say)

    return run_program(PROGRAM, run_all, kept=("**/*.log", "**/*.yaml", "**/*.toml"))
