# SPDX-License-Identifier: Apache-2.0
"""Kills, stops, cuts off and damages every part of a training, and checks that only time is lost.

Starts real servers and workers on this machine, small trainings of some seconds each, and injects one
fault after the other while they make progress, at random from a seed. docs/reliability.md lists the
promises and the faults. When a promise is broken, prints what was expected and what happened, keeps the
logs and checkpoints of that training, and exits with 1.

Some faults need root: tmpfs, network namespaces. What is not possible here is listed as not run.
"""

import argparse
import pathlib
import random
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.project import Binaries, RELEASE, ROOT
from tests.faults import deck as decks, report, soak
from tests.faults.fault import Fault
from tests.faults.session import Session
from tests.harness import cluster as clusters
from tests.harness.disk import SmallDisk
from tests.harness.errors import Failure, Violation
from tests.harness.program import make_parser, run_program
from tests.harness.progress import Progress

PROGRAM = "tests/faults/run"
DOCS = ROOT / "docs/reliability.md"
FOREVER = float("inf")


def parse_arguments() -> argparse.Namespace:
    """Returns the flags. Exits with 2 if they make no sense."""
    parser = make_parser(PROGRAM, __doc__)
    parser.add_argument("--seed", type=int, help="of all random numbers (default: a new one)")
    parser.add_argument("--injections", type=int, metavar="N",
                        help="end after N faults (default: 200, or as many as fit into --minutes)")
    parser.add_argument("--minutes", type=float, metavar="M",
                        help="end after M minutes, when the running training ends; of --soak: its "
                        "length (default: 30)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="only faults whose name begins with NAME; may be repeated")
    parser.add_argument("--but", action="append", default=[], metavar="NAME",
                        help="no faults whose name begins with NAME; may be repeated")
    parser.add_argument("--soak", action="store_true",
                        help="one long training with a fault every 5 seconds; checks memory, "
                        "threads and descriptors of all processes")
    parser.add_argument("--tls", nargs="?", choices=("none", "half", "all"), default="half",
                        const="all", help="which trainings have certificates (default: every second "
                        "one; --tls alone: all). With all there are no faults of the wall clock, by "
                        "which certificates are valid")
    parser.add_argument("--list", action="store_true", help="print the faults that are possible here")
    parser.add_argument("--build", type=pathlib.Path, metavar="FOLDER",
                        help="take this build's programs (default: builds build/release)")
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE",
                        help="write the results, as JSON")
    parser.add_argument("--write-docs", action="store_true",
                        help="write docs/reliability.md's table, and docs/reliability.json")
    parser.add_argument("--keep", action="store_true", help="keep logs and checkpoints of the end")
    arguments = parser.parse_args()
    for name in ("injections", "minutes"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            parser.error(f"--{name}: expected more than 0, got {value}")
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(1 << 31)
    return arguments


def command_line(arguments: argparse.Namespace) -> str:
    """Returns the command that repeats this run."""
    words = [PROGRAM, f"--seed={arguments.seed}"]
    words += [f"--{name}={getattr(arguments, name):g}" for name in ("injections", "minutes")
              if getattr(arguments, name) is not None]
    words += [f"--only={name}" for name in arguments.only]
    words += [f"--but={name}" for name in arguments.but] + ["--soak"] * arguments.soak
    words += [f"--tls={arguments.tls}"] if arguments.tls != "half" else []
    return shlex.join(words)


def list_faults(faults: Sequence[Fault], reasons: Mapping[str, str]) -> None:
    """Prints the faults, and why others are not possible."""
    width = max(len(fault.name) for fault in faults)
    for fault in faults:
        print(f"{fault.name.ljust(width)}  {fault.what}")
    for name, reason in reasons.items():
        print(f"{name.ljust(width)}  not possible here: {reason}")


def inject(arguments: argparse.Namespace, session: Session, faults: list[Fault],
           reasons: dict[str, str], progress: Progress) -> dict[str, Any]:
    """Runs everything except the soak."""
    began = time.monotonic()
    most = arguments.injections or (FOREVER if arguments.minutes else 200)
    until = began + 60 * arguments.minutes if arguments.minutes else FOREVER
    progress.expect(most, until)
    session.run(decks.Deck(faults, clusters.seeded(arguments.seed, "deck")), most, until)
    progress.end()
    result = report.summary(session, faults, reasons, command_line(arguments),
                            time.monotonic() - began)
    print(report.page(result))
    if arguments.write_docs:
        report.write_between(DOCS, "faults", report.page(result))
        report.write_json(DOCS.with_suffix(".json"), result)
    return result


def run_soak(arguments: argparse.Namespace, session: Session, faults: list[Fault],
             progress: Progress) -> dict[str, Any]:
    """Runs the soak."""
    minutes = arguments.minutes or 30
    progress.expect(FOREVER, time.monotonic() + 60 * minutes)
    result = soak.run(session, faults, arguments.seed, 60 * minutes, progress.say)
    progress.end()
    result["command"] = command_line(arguments)
    page = soak.page(result)
    print(page)
    if arguments.write_docs:
        report.write_between(DOCS, "soak", page)
    if result["violations"]:
        raise Violation("\n".join(result["violations"]))
    return result


def build() -> pathlib.Path:
    """Installs and builds what is needed; returns the build's folder."""
    # Without these, some faults are not possible, and are listed as not run.
    subprocess.run([ROOT / "deploy/install-packages", "faults"], check=False)
    for command in (["install-packages", "build"],
                    ["build", "release", "pd-server", "pd-worker", "pdctl"]):
        if subprocess.run([ROOT / "deploy" / command[0], *command[1:]], check=False).returncode:
            raise Failure(f"deploy/{' '.join(command)} failed")
    return RELEASE


def run(arguments: argparse.Namespace, folder: pathlib.Path) -> None:
    """Runs everything. Throws Violation when a promise is broken."""
    binaries = Binaries((arguments.build or build()).resolve())
    faults, reasons = decks.all_faults(folder)
    if arguments.list:
        list_faults(faults, reasons)
        return
    faults = decks.chosen(faults, arguments.only, arguments.but)
    if arguments.tls != "half":
        other = arguments.tls == "none"
        faults = [fault for fault in faults if fault.fixed.get("tls") is not other]
    print(f"seed {arguments.seed}, {len(faults)} kinds of faults", flush=True)
    for name, reason in reasons.items():
        print(f"not possible here: {name}: {reason}", flush=True)
    progress = Progress()
    disks = ("disk",) if SmallDisk.unavailable(folder) else ("disk", "tmpfs")
    session = Session(binaries, folder, arguments.seed, disks, progress.say,
                      arguments.tls)
    try:
        if arguments.soak:
            result = run_soak(arguments, session, faults, progress)
        else:
            result = inject(arguments, session, faults, reasons, progress)
    except (Violation, Failure) as error:
        progress.end()
        raise type(error)(f"{session.current}\n{error}\n\nrepeat: {command_line(arguments)}") from None
    if arguments.results:
        report.write_json(arguments.results, result)


def main() -> int:
    """Returns the exit code: 0 if all promises were kept."""
    arguments = parse_arguments()
    return run_program(PROGRAM, lambda folder: run(arguments, folder), arguments.keep)
