# SPDX-License-Identifier: Apache-2.0
"""Looks at real trainings through the live page, in a real browser."""

import argparse
import pathlib

from deploy.project import RELEASE, ROOT, Binaries
from tests.harness import errors
from tests.harness.commands import run
from tests.harness.job import write_data
from tests.harness.program import run_program
from tests.page.browser import Browser, install
from tests.page.scenarios import SCENARIOS, Scene


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="tests/page/run",
        description="Trains on 2 shards and 2 workers on loopback, and checks in Debian's Chromium, "
        "without a window, what the live page shows: curves that grow, a step that the mouse or a key "
        "picks, a worker that is killed and a shard that is restarted, 60 tensors, a phone's width, "
        "the numbers of pdctl, a report. No error may be on the console, and axe-core must find no "
        "violation of accessibility.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO",
                        help=f"default: all of {', '.join(SCENARIOS)}")
    parser.add_argument("--build", type=pathlib.Path, default=RELEASE, help="folder of the programs")
    parser.add_argument("--screenshots", type=pathlib.Path, metavar="DIR",
                        help="write pictures of the page there")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {unknown[0]}; there are {', '.join(SCENARIOS)}")
    failed = []

    def test(folder: pathlib.Path) -> int:
        run(ROOT / "deploy/install-packages", "page", "test")
        if arguments.screenshots:
            arguments.screenshots.mkdir(parents=True, exist_ok=True)
        write_data(folder / "data")
        (folder / "modules").mkdir()
        modules = install(folder / "modules")
        with Browser(modules, folder / "profile") as browser:
            scene = Scene(Binaries(arguments.build), folder, browser, arguments.screenshots)
            for name in arguments.scenarios or SCENARIOS:
                try:
                    SCENARIOS[name](scene)
                    if console := browser.errors():
                        raise errors.Violation("on the console: " + "; ".join(console)[:2000])
                    print(f"ok      {name}", flush=True)
                except (errors.Failure, errors.Violation) as error:
                    print(f"FAILED  {name}: {error}", flush=True)
                    failed.append(name)
                    browser.errors()
        print(f"{len(failed)} scenarios failed" if failed else "The page shows what it should")
        return 1 if failed else 0

    return run_program("tests/page/run", test, kept=("*.log", "*/*.log"))
