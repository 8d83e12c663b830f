# SPDX-License-Identifier: Apache-2.0
"""Trainings, one after the other, until enough faults have been injected."""

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

from deploy.project import Binaries
from tests.faults import checkpoint_files
from tests.faults.deck import Deck
from tests.faults.training import Injection, Over, Training
from tests.harness.cluster import Cluster, Layout, make_certificates, random_layout, seeded
from tests.harness.errors import Failure, Violation
from tests.harness.job import write_data


MAX_STEPS = 120
FOREIGN_STEPS = 10
FOREIGN_SEED = 2


@dataclasses.dataclass
class Undisturbed:
    """The results of an undisturbed training."""
    checksum: str
    # By what slows a cluster down: its network, and whether its clock jumps.
    steps_per_second: dict[tuple[str, bool], float]


class Session:
    """Injects faults of a deck. `disks`: the possible values of Layout.disk on this machine. `tls`:
    which clusters have certificates, "none", "half" or "all". Calls say() with progress, in one line."""

    def __init__(self, binaries: Binaries, folder: pathlib.Path, seed: int, disks: Sequence[str],
                 say: Callable[[str], None], tls: str = "none") -> None:
        self.injections: list[Injection] = []
        self.in_vain: dict[str, int] = {}  # faults that did not strike, by name
        self.trainings = 0
        self.undisturbed = Undisturbed("", {})
        self._binaries = binaries
        self._folder = folder
        self._seed = seed
        self._disks = disks
        self._say = say
        self._foreign: bytes | None = None
        self.current = ""  # what is happening, for the report of a violation
        self.tls = tls
        self._certificates = make_certificates(folder / "certificates") if tls != "none" else None
        write_data(folder / "data")

    def cluster(self, layout: Layout, name: str, max_steps: int = MAX_STEPS,
                **more: Any) -> Cluster:
        """Returns a cluster with its own folder."""
        return Cluster(self._binaries, self._folder / name, layout, self._folder / "data",
                       max_steps, certificates=self._certificates, **more)

    def measure(self, layout: Layout) -> None:
        """Runs an undisturbed training, once for each pace: all others must have its weights, and their
        pace is compared with its own."""
        pace = (layout.network, layout.fake_clock)
        if pace in self.undisturbed.steps_per_second:
            return
        # Without TLS, if there is a choice: its weights are those of all.
        layout = dataclasses.replace(layout, shards=3, workers=3, tls=self.tls == "all")
        self.current = f"an undisturbed training, {layout}"
        with self.cluster(layout, f"undisturbed-{len(self.undisturbed.steps_per_second)}") as cluster:
            training = Training(cluster, self.undisturbed.checksum or None, seeded(self._seed))
            training.start()
            checksum = training.finish()
            status = training.watch.now
        if training.watch.recomputed:
            raise Violation(f"{self.current}: {training.watch.recomputed} steps were done twice")
        self.undisturbed.checksum = checksum
        self.undisturbed.steps_per_second[pace] = (
            status.newest_training_step / status.training_seconds)
        self._say(f"undisturbed, {layout}: "
                  f"{self.undisturbed.steps_per_second[pace]:.1f} steps/s, {checksum[:12]}")

    def run(self, deck: Deck, injections: float, until: float) -> None:
        """Trains until `injections` faults are injected, or until a time (monotonic)."""
        while len(self.injections) < injections and time.monotonic() < until:
            self._train(deck, injections, until)

    def _train(self, deck: Deck, injections: float, until: float) -> None:
        number = self.trainings = self.trainings + 1
        source = seeded(self._seed, "training", number)
        tls = self.tls == "all" or (self.tls == "half" and number % 2 == 0)
        fixed = {"disk": source.choice(self._disks), "tls": tls, **deck.next.fixed}
        layout = random_layout(source, **fixed)
        self.measure(layout)
        name = f"training-{number}"
        with self.cluster(layout, name) as cluster:
            self.current = f"training {number}, {layout}"
            training = Training(cluster, self.undisturbed.checksum, source, self.foreign_manifest)
            training.start()
            try:
                self._inject(deck, training, injections, until)
            except Over:
                pass
            self.current = f"the end of training {number}, {layout}, after " + (
                ", ".join(made.fault for made in training.injections) or "no fault")
            training.finish()
        shutil.rmtree(self._folder / name)  # no longer of interest

    def _inject(self, deck: Deck, training: Training, injections: float, until: float) -> None:
        while len(self.injections) < injections and time.monotonic() < until:
            fault = deck.fitting(training.cluster.layout)
            if fault is None:
                return
            self.current = (f"training {self.trainings}, {training.cluster.layout}, "
                            f"fault {len(self.injections) + 1}: {fault.name}")
            made = training.inject(fault)
            deck.struck(fault, made is not None)
            if made is None:
                self.in_vain[fault.name] = self.in_vain.get(fault.name, 0) + 1
                continue
            self.injections.append(made)
            self._say(f"{fault.name}: recovered in {made.recovery:.1f} s at step "
                      f"{training.watch.now.step} ({made.note})")

    def foreign_manifest(self) -> bytes:
        """Returns the manifest of a checkpoint of another job, made once."""
        if self._foreign is not None:
            return self._foreign
        layout = Layout(shards=2, workers=1, tls=self.tls == "all")
        with self.cluster(layout, "foreign", FOREIGN_STEPS, seed=FOREIGN_SEED) as cluster:
            training = Training(cluster, None, seeded(self._seed))
            training.start()
            training.finish()
            whole = checkpoint_files.whole_checkpoints(cluster.checkpoints)
            if not whole:
                raise Failure("the other job has left no checkpoint")
            self._foreign = (list(whole.values())[-1] / checkpoint_files.MANIFEST).read_bytes()
        assert self._foreign is not None
        return self._foreign
