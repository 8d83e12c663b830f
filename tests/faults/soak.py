# SPDX-License-Identifier: Apache-2.0
"""One long training with a fault every few seconds: memory, threads and descriptors must not grow.

Resident memory, threads and descriptors of each process are sampled every second. A process that was
killed starts again with little, so incarnations are compared at the same age: late in the soak with
early, without the first minute.
"""

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tests.faults import checkpoint_files
from tests.faults.deck import Deck
from tests.faults.fault import Fault
from tests.faults.report import machine
from tests.faults.session import Session
from tests.faults.training import Training
from tests.harness.cluster import Cluster, Layout, seeded
from tests.harness.errors import Violation
from tests.harness.processes import sample

PERIOD_SECONDS = 5
SAMPLE_SECONDS = 1
WARM_UP_SECONDS = 60
AGES = (10, 20, 40, 60)  # seconds; a process has the highest of these ages that it has reached
MOST_GROWTH = 0.05  # of a process that is a minute old
MOST_GROWTH_YOUNG = 0.15  # of a younger one: no two see the same faults in their first seconds
GROWN_UP_SECONDS = 60
MOST_MORE = {"threads": 2, "descriptors": 4}  # connections come and go
FEWEST_SAMPLES = 10
MAX_STEPS = 10000000
HISTORY = 500  # steps that the coordinator retains; reached within the first minute
GROUPS = ("processes", "network", "disk")
END_SECONDS = 15


class Held(Protocol):
    """What a process holds (processes.Sample)."""

    @property
    def rss(self) -> float:
        """Resident bytes."""

    @property
    def threads(self) -> int:
        """Its threads."""

    @property
    def descriptors(self) -> int:
        """Its open descriptors."""


# Seconds since the beginning, the process's name, its age in seconds, and what it held.
TimedSample = tuple[float, str, float, Held]


class Sampler(threading.Thread):
    """Samples all processes of a cluster until it is stopped."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.samples: list[TimedSample] = []
        self._cluster = cluster
        self._began = time.monotonic()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            for process in self._cluster.processes:
                age = now - process.started_at
                held = sample(process)
                if held is not None and process.started_at + age == now:
                    self.samples.append((now - self._began, process.name, age, held))

    def stop(self) -> None:
        """Stops sampling."""
        self._over.set()
        self.join()


def _age_class(age: float) -> int | None:
    return max((limit for limit in AGES if age >= limit), default=None)


def compare(samples: Sequence[TimedSample], seconds: float) -> list[dict[str, Any]]:
    """Returns what each process held early and late, by age: rows, ready for JSON."""
    third = (seconds - WARM_UP_SECONDS) / 3
    early: dict[tuple[str, int], list[Held]] = {}
    late: dict[tuple[str, int], list[Held]] = {}
    for at, name, age, held in samples:
        age_class = _age_class(age)
        if at < WARM_UP_SECONDS or age_class is None:
            continue
        key = (name, age_class)
        if at < WARM_UP_SECONDS + third:
            early.setdefault(key, []).append(held)
        elif at > seconds - third:
            late.setdefault(key, []).append(held)
    rows = []
    for key in sorted(early.keys() & late.keys()):
        if min(len(early[key]), len(late[key])) < FEWEST_SAMPLES:
            continue
        row: dict[str, Any] = {"process": key[0], "age": key[1]}
        for what in ("rss", "threads", "descriptors"):
            row[what] = [statistics.median(getattr(held, what) for held in part[key])
                         for part in (early, late)]
        rows.append(row)
    return rows


def violations_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns what has grown, in words."""
    found = []
    for row in rows:
        who = f"{row['process']} at the age of {row['age']} s or more"
        early, late = row["rss"]
        growth = MOST_GROWTH if row["age"] >= GROWN_UP_SECONDS else MOST_GROWTH_YOUNG
        if late > early * (1 + growth):
            found.append(f"{who}: resident memory grew from {early / 1e6:.1f} to {late / 1e6:.1f} MB")
        for what, most in MOST_MORE.items():
            early, late = row[what]
            if late > early + most:
                found.append(f"{who}: {what} grew from {early:.0f} to {late:.0f}")
    return found


def _stop(cluster: Cluster) -> int:
    for process in cluster.workers + cluster.servers:
        process.terminate()
    for process in cluster.workers + cluster.servers:
        code = process.wait(END_SECONDS, "SIGTERM")
        if code != 0:
            raise Violation(f"{process.name}: expected exit code 0 after SIGTERM, got {code}"
                            f"\n{process.tail()}")
    left = checkpoint_files.temporary_files(cluster.checkpoints)
    if left:
        raise Violation(f"temporary files were left: {left}")
    return len(list(cluster.checkpoints.glob("step-*")))


def run(session: Session, faults: Sequence[Fault], seed: int, seconds: float,
        say: Callable[[str], None]) -> dict[str, Any]:
    """Soaks for some seconds; returns the findings, ready for JSON."""
    disk = "tmpfs" if any(fault.name == "disk-full" for fault in faults) else "disk"
    layout = Layout(shards=3, workers=3, disk=disk, tls=session.tls != "none")
    # Not everything at once: processes must grow old.
    chosen = [fault for fault in faults if fault.fits(layout) and fault.group in GROUPS
              and not fault.name.startswith("all-")]
    deck = Deck(chosen, seeded(seed, "soak"))
    session.current = f"the soak, {layout}"
    began = time.monotonic()
    with session.cluster(layout, "soak", MAX_STEPS, server_flags=[f"--history={HISTORY}"]) as cluster:
        training = Training(cluster, None, seeded(seed, "soak", "training"))
        training.start()
        sampler = Sampler(cluster)
        sampler.start()
        due = time.monotonic()
        while time.monotonic() < began + seconds:
            fault = deck.next
            session.current = f"the soak, fault {len(training.injections) + 1}: {fault.name}"
            made = training.inject(fault)
            deck.struck(fault, made is not None)
            if made is not None:
                say(f"{made.fault}: recovered in {made.recovery:.1f} s at step "
                    f"{training.watch.now.step} ({made.note})")
            due = max(due + PERIOD_SECONDS, time.monotonic())
            training.watch.pass_time(due - time.monotonic())
        sampler.stop()
        steps, recomputed = training.watch.now.step, training.watch.recomputed
        kept = _stop(cluster)
    rows = compare(sampler.samples, seconds)
    counts: dict[str, int] = {}
    for made in training.injections:
        counts[made.fault] = counts.get(made.fault, 0) + 1
    return {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "seconds": round(seconds),
            "faults": counts, "steps": steps, "recomputed": recomputed, "checkpoints": kept,
            "growth": rows, "violations": violations_of(rows)}


def page(result: Mapping[str, Any]) -> str:
    """Returns the text between the markers of docs/reliability.md."""
    count = sum(result["faults"].values())
    lines = [f"`{result['command']}`, {result['date']}, {result['machine']}: "
             f"{result['seconds'] / 60:.0f} minutes, {count} faults of {len(result['faults'])} "
             f"kinds, {result['steps']} steps, {result['recomputed']} of them done again; "
             f"{result['checkpoints']} checkpoints and no temporary file were left.", "",
             "| process | age, s | resident, MB: early | late | threads | descriptors |",
             "|:--|--:|--:|--:|--:|--:|"]
    for row in result["growth"]:
        early, late = row["rss"]
        lines.append(f"| {row['process']} | {row['age']} | {early / 1e6:.1f} | {late / 1e6:.1f} "
                     f"({100 * (late / early - 1):+.1f} %) "
                     + "".join(f"| {row[what][0]:.0f}, {row[what][1]:.0f} "
                               for what in ("threads", "descriptors")) + "|")
    lines += ["", "\n".join(result["violations"]) or
              "No process of a minute or more grew by more than 5 %, no younger one by more than 15 %, "
              "and no threads or descriptors were leaked."]
    return "\n".join(lines)
