# SPDX-License-Identifier: Apache-2.0
"""Trains MNIST with docker-compose on a real Docker engine, disturbs it, and compares the weights.

Builds the images, starts deploy/compose/docker-compose.yml with 2 servers and 2 workers for 80 steps of
MNIST with checkpoints, asks for statistics, stops and restarts it, replaces a server, kills each
server and everything at once, scales, kills and pauses workers, and compares the final weights with
pd-local's. Then trains another job with a script in Python.

Uses the Docker engine that answers; if there is none, installs Debian's and runs its own, as root. Makes
debian:bookworm-slim with debootstrap if it cannot be pulled. Removes at the end what it started and
made; keeps the logs after a failure.

The images' build takes objects from the host's ccache, if its own compiler would make the same
(tests/compose/compiler_cache.py). With --cold it compiles everything.
"""

import argparse
import concurrent.futures
import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from deploy.project import JOBS, RELEASE, ROOT, Binaries
from tests.compose.compiler_cache import CompilerCache
from tests.compose.engine import BASE, Engine
from tests.compose.project import Project
from tests.compose.scenario import STEPS, Scenario, all_checks
from tests.harness.commands import persistently, run
from tests.harness.errors import Failure, Violation
from tests.harness.processes import Process

MOST_IMAGE_MB = 120  # over the base
LOCAL_SECONDS = 900


class Clock:
    """Prints lines with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Prints a line."""
        print(f"{time.monotonic() - self._began:5.0f} s  {text}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Returns the flags."""
    parser = argparse.ArgumentParser(description=__doc__, prog="tests/compose/run",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--if-possible", action="store_true",
                        help="install no engine; if none answers and none can be started, say so "
                        "and exit with 0")
    parser.add_argument("--cold", action="store_true",
                        help="build the images as on a machine that has compiled nothing yet")
    return parser.parse_args()


def prepare_job(project: Project, folder: pathlib.Path) -> pathlib.Path:
    """Writes the project's job; returns pd-local's. 8 gradients a step leave time to disturb them.
    Checkpoints go to the servers' volume; pd-local, which is not disturbed, has none."""
    text = (JOBS / "mnist.textproto").read_text(encoding="utf-8")
    for field, value in (("max_steps", STEPS), ("gradients_per_step", 8)):
        text = re.sub(rf"(?m)^{field}: .*", f"{field}: {value}", text)
    local = folder / "local.textproto"
    local.write_text(text, encoding="utf-8")
    project.job.write_text(
        text + 'checkpoint { every_steps: 2 directory: "/checkpoints" keep: 2 }\n', encoding="utf-8")
    project.job.chmod(0o644)  # the containers' user reads it
    return local


def build_host(cache: CompilerCache | None) -> Binaries:
    """Returns the programs for the host: pdctl and pd-local."""
    run(ROOT / "deploy/install-packages", "build", "test")
    if cache is not None:
        return cache.build_host()
    run(ROOT / "deploy/build", "release", "pd-local", "pdctl")
    return Binaries(RELEASE)


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


def build_images(project: Project, engine: Engine, clock: Clock) -> tuple[float, float]:
    """Builds the images; returns the seconds, and the MB of the image over its base."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:  # one waits for packages, the other compiles
        python = pool.submit(persistently, lambda: project.compose(
            "build", "worker-python", log="build-python.log"), clock.say)
        persistently(lambda: project.compose("build", "data", "server-0", log="build.log"), clock.say)
        seconds = time.monotonic() - began
        python.result()
    python_seconds = time.monotonic() - began
    megabytes = (engine.size_of(project.image) - engine.size_of(BASE)) / 1e6
    python_megabytes = (engine.size_of(f"{project.image}-python") - engine.size_of(BASE)) / 1e6
    clock.say(f"images built in {seconds:.0f} s, with that of Python workers {python_seconds:.0f} s; "
              f"percentdelta is {megabytes:.0f} MB over {BASE}, percentdelta-python, without PyTorch, "
              f"{python_megabytes:.0f} MB")
    if megabytes >= MOST_IMAGE_MB:
        raise Violation(f"the image: expected less than {MOST_IMAGE_MB} MB over {BASE}, got "
                        f"{megabytes:.0f}")
    return seconds, megabytes


def test(engine: Engine, folder: pathlib.Path, cold: bool, clock: Clock) -> None:
    """Runs the test on an engine."""
    with contextlib.ExitStack() as stack:
        project = Project(engine, folder)
        engine.remove_images([project.image, f"{project.image}-data", f"{project.image}-python"])
        stack.callback(project.abandon)
        job = prepare_job(project, folder)
        cache = None if cold else stack.enter_context(CompilerCache(folder))
        project.binaries = build_host(cache)
        clock.say("the host's programs are built")
        local = start_local(project.binaries, job, folder)
        stack.callback(local.close)
        engine.provide_base()
        clock.say(f"{BASE} is there")
        if cache is not None:
            addition = folder / "compiler-cache.yml"
            addition.write_text(cache.compose_file(), encoding="utf-8")
            project.add_file(addition)
        build_seconds, megabytes = build_images(project, engine, clock)
        if cache is not None:
            clock.say(f"the compiler cache had {cache.found} of {cache.asked} entries that the build "
                      "asked for")
        expected = weights_of(local)
        clock.say(f"pd-local's weights: {expected}")
        scenario = Scenario(project, expected, clock.say)
        try:
            for check in all_checks(scenario):
                check()
        except (Failure, Violation) as error:
            keep_logs(project, folder)
            raise type(error)(f"{error}\npdctl status: {project.look() or 'no answer'}") from None
        print(f"\nimage                 {megabytes:.0f} MB over {BASE}\n"
              f"{'cold build' if cold else 'build     '}            {build_seconds:.0f} s\n"
              f"up to the first step  {scenario.first_step_seconds:.0f} s")
        clock.say("passed")


def keep_logs(project: Project, folder: pathlib.Path) -> None:
    """Writes the containers' logs into the folder, and their last lines to standard error."""
    try:
        project.compose("logs", "--no-color", log="containers.log")
        sys.stderr.write(project.compose("logs", "--no-color", "--tail=40"))
    except Failure as failure:
        print(f"no logs of the containers: {failure}", file=sys.stderr)


def remove(folder: pathlib.Path, keep: bool) -> None:
    """Removes the folder, except logs, jobs and Compose files if `keep`."""
    if keep:
        for path in folder.iterdir():
            if path.suffix not in (".log", ".textproto", ".yml"):
                subprocess.run(["rm", "-rf", "--one-file-system", path], check=False)
        print(f"kept: {folder}", file=sys.stderr)
    else:
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    clock = Clock()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pd-compose-"))
    folder.chmod(0o755)  # the containers' user reads the job
    keep = False
    try:
        with contextlib.ExitStack() as stack:
            engine = Engine(folder, not arguments.if_possible, clock.say)
            try:
                stack.enter_context(engine)
            except Failure as failure:
                if not arguments.if_possible:
                    raise
                print(f"tests/compose/run: SKIPPED: {failure}")
                return 0
            test(engine, folder, arguments.cold, clock)
        return 0
    except (Failure, Violation) as error:
        keep = True
        print(f"tests/compose/run: FAILED: {error}", file=sys.stderr)
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
