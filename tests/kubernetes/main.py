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
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

from deploy.project import JOBS, ROOT, Binaries
from tests.harness.commands import run
from tests.harness.errors import Failure, Violation
from tests.harness.processes import Process
from tests.kubernetes.image import build_archive
from tests.kubernetes.machine import Machine
from tests.kubernetes.node import Node
from tests.kubernetes.programs import Programs
from tests.kubernetes.scenario import Scenario, all_checks
from tests.kubernetes.training import Training

Say = Callable[[str], None]

STEPS = 30
LOCAL_SECONDS = 900
KEPT = (".log", ".yaml", ".toml")  # after a failure


def parse_arguments() -> argparse.Namespace:
    """Returns the flags."""
    parser = argparse.ArgumentParser(description=__doc__, prog="tests/kubernetes/run",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
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
    text = (JOBS / "mnist.textproto").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^max_steps: .*", f"max_steps: {STEPS}", text)
    local = folder / "local.textproto"
    local.write_text(text, encoding="utf-8")
    return local, text + 'checkpoint { every_steps: 2 directory: "/checkpoints" keep: 2 }\n'


def start_local(binaries: Binaries, job: pathlib.Path, folder: pathlib.Path) -> Process:
    """Starts the training whose weights are compared, in the background."""
    run(ROOT / "deploy/fetch-data")
    local = Process("pd-local", [binaries.local, f"--job={job}", f"--data={ROOT / 'data/mnist'}"],
                    folder / "local.log")
    local.start()
    return local


def weights_of(local: Process) -> str:
    """Waits for pd-local; returns the SHA-256 of its weights."""
    code = local.wait(LOCAL_SECONDS, "its start")
    found = re.search(r"(?m)^weights sha256 ([0-9a-f]+) ", local.log_since())
    if code != 0 or found is None:
        raise Failure(f"pd-local: expected exit code 0 and the weights' SHA-256, got {code}\n"
                      f"{local.tail()}")
    return found.group(1)


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
        local = start_local(binaries, local_job, folder)
        stack.callback(local.close)
        state = folder / "node"
        state.mkdir()
        node = Node(stack.enter_context(Machine(state)), programs, say)
        node.start()
        node.import_images(archive)
        say("containerd has the images")
        training = Training(node, ROOT / "data/mnist", job)
        expected = weights_of(local)
        say(f"pd-local's weights: {expected}")
        try:
            for check in all_checks(Scenario(training, expected, say)):
                check()
        except (Failure, Violation) as error:
            raise type(error)(f"{error}\n{training.events()}") from None
    say("passed")


def remove(folder: pathlib.Path, keep: bool) -> None:
    """Removes the folder, except logs and settings if `keep`."""
    if keep:
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_symlink() or (path.is_file() and path.suffix not in KEPT):
                path.unlink()
            elif path.is_dir():
                with contextlib.suppress(OSError):
                    path.rmdir()
        print(f"kept: {folder}", file=sys.stderr)
    else:
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

    folder = pathlib.Path(tempfile.mkdtemp(prefix="pd-kubernetes-"))
    folder.chmod(0o755)  # the volumes are in it
    keep = False
    try:
        if arguments.only_build:
            provide_programs(True, say)
        else:
            test(arguments, folder, say)
        return 0
    except (Failure, Violation) as error:
        keep = True
        print(f"tests/kubernetes/run: FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except Exception:  # a mistake of the test itself
        keep = True
        traceback.print_exc()
        return 1
    finally:
        remove(folder, keep)
