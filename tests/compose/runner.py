# SPDX-License-Identifier: Apache-2.0
"""Runs tests on an engine: the programs, the images and the results to compare with are made once."""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

from deploy.project import RELEASE, ROOT, Binaries
from tests.compose.compiler_cache import CompilerCache
from tests.compose.engine import BASE, Engine
from tests.compose.project import Project
from tests.harness import program as harness
from tests.harness.commands import persistently, run
from tests.harness.errors import Failure, Skipped, Violation
from tests.harness.job import checkpoint_text, mnist_text
from tests.harness.local import LocalTraining
from tests.harness.program import Say, make_clock, run_program

MOST_IMAGE_MB = 120  # over the base


def make_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the flags that all have."""
    parser = harness.make_parser(program, description)
    parser.add_argument("--if-possible", action="store_true",
                        help="install no engine; if none answers and none can be started, say so "
                        "and exit with 0")
    parser.add_argument("--cold", action="store_true",
                        help="build the images as on a machine that has compiled nothing yet")
    return parser


def prepare_jobs(folder: pathlib.Path, name: str, steps: int) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes a job with checkpoints, in the servers' volume, and one without, for pd-local, which is not
    disturbed. 8 gradients a step leave time to disturb them."""
    text = mnist_text(max_steps=steps, gradients_per_step=8)
    job, plain = folder / f"{name}.textproto", folder / f"{name}-local.textproto"
    plain.write_text(text, encoding="utf-8")
    job.write_text(text + checkpoint_text("/checkpoints"), encoding="utf-8")
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


def build_images(project: Project, engine: Engine, say: Say) -> tuple[float, float]:
    """Builds the images, with that of Python workers; returns the seconds without it, and the MB of the
    image over its base."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:  # one waits for packages, the other compiles
        python = pool.submit(persistently, lambda: project.compose(
            "build", "worker-python", log="build-python.log"), say)
        persistently(lambda: project.compose("build", "data", "server-0", log="build.log"), say)
        seconds = time.monotonic() - began
        python.result()
    python_seconds = time.monotonic() - began
    megabytes = (engine.size_of(project.image) - engine.size_of(BASE)) / 1e6
    python_megabytes = (engine.size_of(f"{project.image}-python") - engine.size_of(BASE)) / 1e6
    say(f"images built in {seconds:.0f} s, with that of Python workers {python_seconds:.0f} s; "
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
    say: Say


def test(engine: Engine, folder: pathlib.Path, parts: Sequence[Part], cold: bool, say: Say) -> None:
    """Runs parts of the test on an engine."""
    with contextlib.ExitStack() as stack:
        cache = None if cold else stack.enter_context(CompilerCache(folder))
        binaries = build_host(cache)
        say("the host's programs are built")
        project = Project(engine, binaries, folder)
        engine.remove_images([project.image, f"{project.image}-data", f"{project.image}-python"])
        run(ROOT / "deploy/fetch-data")
        jobs = {part.name: prepare_jobs(folder, part.name, part.steps) for part in parts}
        locals_ = {name: LocalTraining(binaries, plain) for name, (_, plain) in jobs.items()}
        for local in locals_.values():
            stack.callback(local.close)
            local.start()
        engine.provide_base()
        say(f"{BASE} is there")
        if cache is not None:
            addition = folder / "compiler-cache.yml"
            addition.write_text(cache.compose_file(), encoding="utf-8")
            project.add_file(addition)
        build_seconds, megabytes = build_images(project, engine, say)
        if cache is not None:
            say(f"the compiler cache had {cache.found} of {cache.asked} entries that the build "
                "asked for")
        for part in parts:
            expected = locals_[part.name].weights()
            say(f"pd-local's weights after {part.steps} steps: {expected}")
            part.run(Preparation(engine, project, *jobs[part.name], expected, folder, say))
        print(f"\nimage                 {megabytes:.0f} MB over {BASE}\n"
              f"{'cold build' if cold else 'build     '}            {build_seconds:.0f} s")
        say("passed")


def run_parts(program: str, parts: Sequence[Part], arguments: argparse.Namespace) -> int:
    """Runs parts of the test, with the flags of make_parser(). Returns the exit code: 0 if every check
    passed."""
    say = make_clock()

    def run_all(folder: pathlib.Path) -> None:
        with contextlib.ExitStack() as stack:
            engine = Engine(folder, not arguments.if_possible, say)
            try:
                stack.enter_context(engine)
            except Failure as failure:
                raise Skipped(failure) if arguments.if_possible else failure from None
            test(engine, folder, parts, arguments.cold, say)

    return run_program(program, run_all, kept=("*.log", "*.textproto", "*.yml"))
