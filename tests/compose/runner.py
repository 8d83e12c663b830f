# SPDX-License-Identifier: Apache-2.0
"""Runs tests on an engine: the programs, the images and the results to compare with are made once."""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence

from deploy.project import JOBS, RELEASE, ROOT, Binaries
from tests.compose.compiler_cache import CompilerCache
from tests.compose.engine import BASE, Engine
from tests.compose.project import Project
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


def make_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the flags that all have."""
    parser = argparse.ArgumentParser(description=description, prog=program,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--if-possible", action="store_true",
                        help="install no engine; if none answers and none can be started, say so "
                        "and exit with 0")
    parser.add_argument("--cold", action="store_true",
                        help="build the images as on a machine that has compiled nothing yet")
    return parser


def prepare_jobs(folder: pathlib.Path, name: str, steps: int) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes a job with checkpoints, in the servers' volume, and one without, for pd-local, which is not
    disturbed. 8 gradients a step leave time to disturb them."""
    text = (JOBS / "mnist.textproto").read_text(encoding="utf-8")
    for field, value in (("max_steps", steps), ("gradients_per_step", 8)):
        text = re.sub(rf"(?m)^{field}: .*", f"{field}: {value}", text)
    job, plain = folder / f"{name}.textproto", folder / f"{name}-local.textproto"
    plain.write_text(text, encoding="utf-8")
    job.write_text(text + 'checkpoint { every_steps: 2 directory: "/checkpoints" keep: 2 }\n',
                   encoding="utf-8")
    for path in (job, plain):
        path.chmod(0o644)  # the containers' user reads it
    return job, plain


def build_host(cache: CompilerCache | None) -> Binaries:
    """Returns the programs for the host: pdctl and pd-local."""
    run(ROOT / "deploy/install-packages", "build", "test")
    if cache is not None:
        return cache.build_host()
    run(ROOT / "deploy/build", "release", "pd-local", "pdctl")
    return Binaries(RELEASE)


def start_local(binaries: Binaries, job: pathlib.Path) -> Process:
    """Starts the training whose weights are compared, in the background."""
    local = Process("pd-local", [binaries.local, f"--job={job}", f"--data={ROOT / 'data/mnist'}"],
                    job.with_suffix(".log"))
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
    """Builds the images, with that of Python workers; returns the seconds without it, and the MB of the
    image over its base."""
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


@dataclasses.dataclass(frozen=True)
class Part:
    """What is tested on the engine."""
    name: str
    steps: int
    run: Callable[["Preparation"], None]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What a part of the test begins with."""
    engine: Engine
    project: Project
    job: pathlib.Path
    plain_job: pathlib.Path
    expected: str  # SHA-256 of the weights
    folder: pathlib.Path
    clock: Clock


def test(engine: Engine, folder: pathlib.Path, parts: Sequence[Part], cold: bool,
         clock: Clock) -> None:
    """Runs parts of the test on an engine."""
    with contextlib.ExitStack() as stack:
        cache = None if cold else stack.enter_context(CompilerCache(folder))
        binaries = build_host(cache)
        clock.say("the host's programs are built")
        project = Project(engine, binaries, folder)
        engine.remove_images([project.image, f"{project.image}-data", f"{project.image}-python"])
        run(ROOT / "deploy/fetch-data")
        jobs = {part.name: prepare_jobs(folder, part.name, part.steps) for part in parts}
        locals_ = {name: start_local(binaries, plain) for name, (_, plain) in jobs.items()}
        for local in locals_.values():
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
        for part in parts:
            expected = weights_of(locals_[part.name])
            clock.say(f"pd-local's weights after {part.steps} steps: {expected}")
            part.run(Preparation(engine, project, *jobs[part.name], expected, folder, clock))
        print(f"\nimage                 {megabytes:.0f} MB over {BASE}\n"
              f"{'cold build' if cold else 'build     '}            {build_seconds:.0f} s")
        clock.say("passed")


def remove(folder: pathlib.Path, keep: bool) -> None:
    """Removes the folder, except logs, jobs and Compose files if `keep`."""
    if keep:
        for path in folder.iterdir():
            if path.suffix not in (".log", ".textproto", ".yml"):
                subprocess.run(["rm", "-rf", "--one-file-system", path], check=False)
        print(f"kept: {folder}", file=sys.stderr)
    else:
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)


def run_parts(program: str, parts: Sequence[Part], arguments: argparse.Namespace) -> int:
    """Runs parts of the test, with the flags of make_parser(). Returns the exit code: 0 if every check
    passed."""
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
                print(f"{program}: SKIPPED: {failure}")
                return 0
            test(engine, folder, parts, arguments.cold, clock)
        return 0
    except (Failure, Violation) as error:
        keep = True
        print(f"{program}: FAILED: {error}", file=sys.stderr)
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
