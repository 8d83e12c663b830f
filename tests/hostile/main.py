# SPDX-License-Identifier: Apache-2.0
"""Attacks trainings, and shows what became of them."""

import argparse
import dataclasses
import pathlib
import re
import statistics
import sys
import tempfile
import time

from deploy.project import RELEASE, ROOT, Binaries
from tests.faults.report import machine, write_between
from tests.harness.errors import Failure, Violation
from tests.harness.job import write_data
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.certificates import make_all
from tests.hostile.training import LAYOUT, Outcome, Trainings

INSIDE_LIMIT, OUTSIDE_LIMIT = 1.5, 1.2  # of the step time, against undisturbed trainings
MEMORY_BUDGET = 320  # MB above an undisturbed server: headers without an end take most
GROUP = 5  # attacks between two undisturbed trainings
TRIES = 3  # of an attack that is over its limit: the median counts
DOCS = ROOT / "docs/security.md"
HEADER = ("| attack | certificate | step | against undisturbed | server memory | server log | weights |"
          " attempts, and how most ended |\n|---|---|---|---|---|---|---|---|")


@dataclasses.dataclass
class Row:
    """What an attack did, in each of its trainings."""
    attack: Attack
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    ratios: list[float] = dataclasses.field(default_factory=list)

    @property
    def limit(self) -> float:
        """Of the step time."""
        return INSIDE_LIMIT if self.attack.certificate else OUTSIDE_LIMIT

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)


class Table:
    """Attacks in groups, with an undisturbed training before and after each group."""

    def __init__(self, trainings: Trainings, tls: bool, judge_times: bool) -> None:
        self._trainings = trainings
        self._tls = tls
        self._judge_times = judge_times
        self._undisturbed: list[Outcome] = []
        self.faults: list[str] = []
        self.lines: dict[str, str] = {}  # by attack

    def run(self, attacks: list[Attack]) -> None:
        """Runs all of them, and prints their lines."""
        print(HEADER, flush=True)
        self._measure_undisturbed()
        for begin in range(0, len(attacks), GROUP):
            rows = [row for attack in attacks[begin:begin + GROUP]
                    if (row := self._begin(attack)) is not None]
            self._measure_undisturbed()
            for row in rows:
                self._compare(row)
            for row in rows:
                while (self._judge_times and row.ratio > row.limit and len(row.ratios) < TRIES
                       and self._again(row)):
                    pass
                self._finish(row)

    def _measure_undisturbed(self) -> None:
        outcome = self._trainings.train(None)
        self._undisturbed.append(outcome)
        print(f"| none | | {outcome.milliseconds(outcome.first):.0f} ms | | {outcome.megabytes} MB | "
              f"{outcome.log_bytes // 1024} kB | {self._weights(outcome)} | |", flush=True)

    def undisturbed_line(self) -> str:
        """Returns one line for all undisturbed trainings."""
        steps = sorted(outcome.milliseconds(outcome.first) for outcome in self._undisturbed)
        return (f"| none, {len(steps)} times | | {statistics.median(steps):.0f} ms ({steps[0]:.0f} to "
                f"{steps[-1]:.0f}) | 1 | {max(each.megabytes for each in self._undisturbed)} MB | "
                f"{max(each.log_bytes for each in self._undisturbed) // 1024} kB | the same | |")

    def _begin(self, attack: Attack) -> Row | None:
        row = Row(attack)
        try:
            row.outcomes.append(self._trainings.train(attack))
        except (Failure, Violation) as error:
            self._fail(attack, str(error))
            return None
        return row

    def _again(self, row: Row) -> bool:
        try:
            row.outcomes.append(self._trainings.train(row.attack))
        except (Failure, Violation) as error:
            self._fail(row.attack, str(error))
            return False
        self._measure_undisturbed()
        self._compare(row)
        return True

    def _compare(self, row: Row) -> None:
        outcome = row.outcomes[-1]
        before, after = self._undisturbed[-2:]
        usual = (before.milliseconds(outcome.first) + after.milliseconds(outcome.first)) / 2
        row.ratios.append(outcome.milliseconds(outcome.first) / usual)

    def _weights(self, outcome: Outcome) -> str:
        if outcome.checksum == self._undisturbed[0].checksum:
            return "the same"
        self.faults.append("a training has other weights")
        return "OTHER WEIGHTS"

    def _finish(self, row: Row) -> None:
        """Prints the line, and notes what is over a limit."""
        name, last = row.attack.name, row.outcomes[-1]
        milliseconds = statistics.median(
            outcome.milliseconds(outcome.first) for outcome in row.outcomes)
        megabytes = max(outcome.megabytes for outcome in row.outcomes)
        weights = [self._weights(outcome) for outcome in row.outcomes]
        role = row.attack.certificate.replace("other/worker", "of another CA") or "none"
        self.lines[name] = (
            f"| {row.attack.what} (`{name}`) | {role if self._tls else 'none'} | "
            f"{milliseconds:.0f} ms | {row.ratio:.2f} x | {megabytes} MB | "
            f"{max(outcome.log_bytes for outcome in row.outcomes) // 1024} kB | {max(weights)} | "
            f"{last.attempts()} |")
        print(self.lines[name], flush=True)
        if self._judge_times and row.ratio > row.limit:
            self.faults.append(f"{name}: expected at most {row.limit} times the undisturbed step, got "
                               + ", ".join(f"{ratio:.2f}" for ratio in row.ratios))
        if self._judge_times and not any(outcome.attempts() for outcome in row.outcomes):
            self.faults.append(f"{name}: nothing was attempted; is the machine too busy?")
        budget = MEMORY_BUDGET + self._undisturbed[0].megabytes
        if megabytes > budget:
            self.faults.append(f"{name}: expected at most {budget} MB, got {megabytes} MB")

    def _fail(self, attack: Attack, message: str) -> None:
        print(f"| {attack.what} (`{attack.name}`) | {message.splitlines()[0]} |", flush=True)
        self.faults.append(f"{attack.name}: {message}")


def parse_arguments() -> argparse.Namespace:
    """Returns the flags. Exits with 2 if they make no sense."""
    parser = argparse.ArgumentParser(
        prog="tests/hostile/run", description="Trains the small job on "
        f"{LAYOUT.shards} shards and {LAYOUT.workers} workers on loopback over mTLS, beside one attack "
        "on server 0 after the other, and undisturbed in between, and prints a table in Markdown. Fails "
        "if a process crashes, if a training fails or has other weights, if a server has more than "
        f"{MEMORY_BUDGET} MB more memory than undisturbed, or if a step takes more than {INSIDE_LIMIT} "
        f"times as long ({OUTSIDE_LIMIT} times without a certificate) in the median of {TRIES} "
        "trainings.")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK",
                        help=f"default: all of {', '.join(ATTACKS)}")
    parser.add_argument("--build", type=pathlib.Path, default=RELEASE, help="folder of the programs")
    parser.add_argument("--steps", type=int, default=150, help="of each training (default: 150)")
    parser.add_argument("--plaintext", action="store_true",
                        help="without certificates: everybody may call everything. Without the attacks "
                        "that only a role keeps from changing the weights")
    parser.add_argument("--weights-only", action="store_true",
                        help="measure, but do not judge times: for machines that are busy")
    parser.add_argument("--write-docs", action="store_true",
                        help="write the table to docs/security.md; of the named attacks, their lines")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.attacks if name not in ATTACKS]
    if unknown:
        parser.error(f"no attack {unknown[0]}; there are {', '.join(ATTACKS)}")
    if arguments.steps < 50:
        parser.error(f"--steps: expected at least 50, got {arguments.steps}")
    return arguments


def write_docs(table: Table) -> None:
    """Writes the lines to the table in the documentation, between those of attacks that were not run."""
    old = re.finditer(r"^\| .* \(`(\w+)`\) \|.*$", DOCS.read_text(), re.MULTILINE)
    lines = {**{found[1]: found[0] for found in old}, **table.lines}
    write_between(DOCS, "hostile", "\n".join([
        f"`tests/hostile/run`, {time.strftime('%Y-%m-%d')}, {machine()}:", "", HEADER,
        table.undisturbed_line(), *(lines[name] for name in ATTACKS if name in lines)]))


def main() -> int:
    """Runs the program; returns its exit code."""
    arguments = parse_arguments()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_data(folder / "data")
        certificates = None
        if not arguments.plaintext:
            certificates = make_all(folder / "certificates", LAYOUT.shards)
        trainings = Trainings(Binaries(arguments.build), folder, arguments.steps, certificates)
        table = Table(trainings, not arguments.plaintext, not arguments.weights_only)
        attacks = [ATTACKS[name] for name in arguments.attacks or ATTACKS]
        table.run([each for each in attacks if not (arguments.plaintext and each.by_role)])
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)
    if arguments.write_docs:
        write_docs(table)
    for fault in table.faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    return 1 if table.faults else 0
