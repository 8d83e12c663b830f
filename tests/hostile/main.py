# SPDX-License-Identifier: Apache-2.0
"""Attacks a training, and shows what became of it."""

import argparse
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from deploy.project import RELEASE, ROOT, Binaries
from tests.harness.cluster import Cluster, Layout
from tests.harness.errors import Failure, Violation
from tests.harness.job import write_data
from tests.harness.status import Status
from tests.hostile.attacks import ATTACKS, OUTSIDE

LAYOUT = Layout(shards=2, workers=2)
LONGEST = 600  # seconds of a training
ATTACK_SECONDS = LONGEST
INSIDE_LIMIT, OUTSIDE_LIMIT = 1.5, 1.2  # of the step time, against an undisturbed training


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a training."""
    milliseconds: float  # of a step
    megabytes: int  # the largest resident memory of server 0
    checksum: str
    log_bytes: int  # of server 0


def memory_of(pid: int) -> int:
    """Returns the largest resident memory of a process so far, in MB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


def attack(name: str, port: int) -> "subprocess.Popen[bytes]":
    """Starts an attack, below the priority of the training: only what the servers do counts."""
    path = f"{ROOT}:{ROOT / 'client/python/src'}"
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "10", sys.executable, "-B", "-m",
         "tests.hostile.attacks", name, str(port), str(ATTACK_SECONDS)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def train(binaries: Binaries, folder: pathlib.Path, steps: int, name: str | None) -> Outcome:
    """Trains, beside an attack if one is named. Throws Violation if a process ends otherwise than it
    should, or if the training does."""
    attacker = None
    with Cluster(binaries, folder / (name or "undisturbed"), LAYOUT, folder / "data", steps,
                 give_up_seconds=LONGEST) as cluster:
        cluster.start()
        until = time.monotonic() + LONGEST
        try:
            status: Status | None = None
            while status is None or not status.finished:
                status = cluster.status()
                if status is not None and status.state == "failed":
                    raise Violation(f"the training has failed: {status.message}")
                if name is not None and attacker is None and status is not None and status.step > 2:
                    attacker = attack(name, int(cluster.network.listen(0).rsplit(":", 1)[1]))
                for server in cluster.servers:
                    if not server.runs:
                        raise Violation(f"{server.name} has ended with {server.exit_code}")
                if time.monotonic() > until:
                    raise Violation(f"the training has not ended after {LONGEST} s\n{cluster.tails()}")
                time.sleep(0.2)
            if attacker is not None and attacker.poll() not in (None, 0):
                raise Failure(f"the attack {name} has failed with {attacker.returncode}")
        finally:
            if attacker is not None:
                attacker.kill()
                attacker.wait()
        checksum, _ = cluster.checksum()
        if checksum is None:
            raise Violation("the weights cannot be read")
        outcome = Outcome(1000 * status.training_seconds / max(1, status.newest_training_step),
                          memory_of(cluster.coordinator.pid), checksum,
                          cluster.coordinator.log_size())
    return outcome


def row(what: str, outcome: Outcome, undisturbed: Outcome) -> str:
    """Returns a line of the table."""
    same = "the same" if outcome.checksum == undisturbed.checksum else "OTHER WEIGHTS"
    return (f"| {what} | {outcome.milliseconds:.0f} ms | "
            f"{outcome.milliseconds / undisturbed.milliseconds:.2f} x | {outcome.megabytes} MB | "
            f"{outcome.log_bytes // 1024} kB | {same} |")


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="tests/hostile/run",
        description="Trains the small job on 2 shards and 2 workers on loopback, once undisturbed and "
        "once beside each attack on server 0, and prints a table. Fails if a process crashes, if the "
        f"training fails or has other weights, or if a step takes more than {INSIDE_LIMIT} times "
        f"({OUTSIDE_LIMIT} times, for attacks that need no certificate) as long.")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK",
                        help=f"default: all of {', '.join(ATTACKS)}")
    parser.add_argument("--build", type=pathlib.Path, default=RELEASE, help="folder of the programs")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--weights-only", action="store_true",
                        help="measure, but do not judge times: for machines that are busy")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.attacks if name not in ATTACKS]
    if unknown:
        parser.error(f"no attack {unknown[0]}; there are {', '.join(ATTACKS)}")
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_data(folder / "data")
        binaries = Binaries(arguments.build)
        undisturbed = train(binaries, folder, arguments.steps, None)
        print("| attack | step | against undisturbed | server memory | server log | weights |\n"
              "|---|---|---|---|---|---|\n" + row("none", undisturbed, undisturbed), flush=True)
        for name in arguments.attacks or ATTACKS:
            try:
                outcome = train(binaries, folder, arguments.steps, name)
            except (Failure, Violation) as error:
                print(f"| {name} | {str(error).splitlines()[0]} |", flush=True)
                failed = True
                continue
            print(row(name, outcome, undisturbed), flush=True)
            limit = OUTSIDE_LIMIT if name in OUTSIDE else INSIDE_LIMIT
            slow = outcome.milliseconds > limit * undisturbed.milliseconds
            failed |= outcome.checksum != undisturbed.checksum
            failed |= slow and not arguments.weights_only
    return 1 if failed else 0
