# SPDX-License-Identifier: Apache-2.0
"""The harness notices violations: its parts against made-up clusters."""

import dataclasses
import pathlib
import random
import tempfile
import time
import unittest
from collections.abc import Callable
from typing import Any

from tests.faults import checkpoint_files, watch as watches
from tests.faults.deck import Deck, chosen
from tests.faults.fault import Kill, Point, process_faults
from tests.faults.network_faults import network_faults
from tests.harness.cluster import Layout
from tests.harness.errors import Failure, Violation
from tests.harness.status import Status

TRAINING = Status("training", "", 7, 10, 100, 0, 0, 0, "", 1.0, 9)


class MadeUpProcess:
    """A process whose state is set by the test."""

    def __init__(self, name: str, log: str = "") -> None:
        self.name = name
        self.down = False
        self.runs = True
        self.exit_code: int | None = None
        self.text = log

    def log_since(self, _: int = 0) -> str:
        """Its log."""
        return self.text

    def tail(self) -> str:
        """Its last lines."""
        return self.text


class MadeUpCluster:
    """One server, one worker, and a status that is set by hand."""

    def __init__(self) -> None:
        self.coordinator = MadeUpProcess("server-0")
        self.servers = [self.coordinator]
        self.workers = [MadeUpProcess("worker-0")]
        self.now = TRAINING
        self.open(7, 0)

    @property
    def processes(self) -> list[MadeUpProcess]:
        """All of them."""
        return self.servers + self.workers

    def open(self, generation: int, step: int) -> None:
        """Writes a generation to the log."""
        self.coordinator.text += f"x generation opened generation={generation} a=1 step={step} b\n"

    def status(self) -> Status | None:
        """As set."""
        return self.now

    def tails(self) -> str:
        """Nothing."""
        return ""


class WatchTest(unittest.TestCase):
    """What must hold at every moment."""

    def setUp(self) -> None:
        self.cluster = MadeUpCluster()
        self.watch = watches.Watch(self.cluster)
        self.watch.look()

    def look(self, **changes: Any) -> Status | None:
        """Looks at another status."""
        self.cluster.now = dataclasses.replace(self.cluster.now, **changes)
        return self.watch.look()

    def assert_violation(self, text: str, **changes: Any) -> None:
        """Looks at a status that violates something."""
        with self.assertRaisesRegex(Violation, text):
            self.look(**changes)

    def test_goes_on(self) -> None:
        self.look(step=11)
        self.look(step=30, checkpoint_step=20)
        self.cluster.open(8, 20)
        self.look(generation=8, step=21)
        self.assertEqual(self.watch.recomputed, 10)
        self.assertEqual(self.watch.generations, 2)

    def test_counts_generations_between_two_looks(self) -> None:
        self.look(step=30, checkpoint_step=20)
        self.cluster.open(8, 20)
        self.cluster.open(9, 20)
        self.look(generation=9, step=20)
        self.assertEqual(self.watch.generations, 3)
        self.assertEqual(self.watch.recomputed, 10)

    def test_step_that_goes_back(self) -> None:
        self.assert_violation("went back from step 10 to 9", step=9)

    def test_generation_that_goes_back(self) -> None:
        self.assert_violation("generation went back", generation=6)

    def test_checkpoint_that_is_lost(self) -> None:
        self.look(step=25, checkpoint_step=20)
        self.cluster.open(8, 10)
        self.assert_violation("from step 20 or later", generation=8, step=10)

    def test_checkpoint_that_should_not_be_taken(self) -> None:
        self.look(step=25, checkpoint_step=20)
        self.watch.exact = self.watch.floor = 10
        self.cluster.open(8, 20)
        self.assert_violation("the checkpoint of step 10, got step 20", generation=8, step=20)

    def test_generation_that_the_log_lacks(self) -> None:
        watches.LOG_SECONDS, before = 0.05, watches.LOG_SECONDS
        self.addCleanup(setattr, watches, "LOG_SECONDS", before)
        self.assert_violation("no line about generation 8", generation=8)

    def test_training_that_fails(self) -> None:
        self.assert_violation("no such luck", state="failed", message="no such luck")

    def test_process_that_ends_by_itself(self) -> None:
        self.cluster.coordinator.runs = False
        self.cluster.coordinator.exit_code = 0
        self.assert_violation("server-0 has ended unexpectedly with exit code 0")

    def test_worker_that_fails(self) -> None:
        self.cluster.workers[0].runs = False
        self.cluster.workers[0].exit_code = 1
        self.assert_violation("worker-0 has ended unexpectedly with exit code 1")

    def test_worker_that_leaves_too_early(self) -> None:
        watches.LEAVE_SECONDS, before = 0.05, watches.LEAVE_SECONDS
        self.addCleanup(setattr, watches, "LEAVE_SECONDS", before)
        self.cluster.workers[0].runs = False
        self.cluster.workers[0].exit_code = 0
        self.look()
        time.sleep(0.1)
        self.assert_violation("a worker has left")

    def test_waits_no_longer_than_it_may(self) -> None:
        with self.assertRaisesRegex(Violation, "for the moon"):
            self.watch.until(lambda _: False, 0.1, "the moon")
        self.assertIsNone(self.watch.wait_for(lambda _: False, 0.1))

    def test_reaches_its_goal(self) -> None:
        self.watch.aim()
        self.look(step=11)
        self.assertIsNone(self.watch.reached_at)
        self.look(step=12)
        self.assertIsNotNone(self.watch.reached_at)


class CheckpointFilesTest(unittest.TestCase):
    """Each kind of damage affects one checkpoint, and as it says."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for step in (10, 20, 30):
            path = self.folder / f"step-{step:010d}"
            path.mkdir()
            for number, name in enumerate(("shard-00000-of-00002.safetensors",
                                           "shard-00001-of-00002.safetensors", "history.pb",
                                           "manifest.json")):
                (path / name).write_bytes(bytes([step, number]) * 50)
        (self.folder / "step-0000000030/manifest.json").unlink()

    def content(self) -> dict[str, bytes]:
        """Returns the content of every file."""
        return {str(path.relative_to(self.folder)): path.read_bytes()
                for path in self.folder.rglob("*") if path.is_file()}

    def damaged(self,
                damage: Callable[[pathlib.Path, random.Random], checkpoint_files.Damage],
                ) -> tuple[pathlib.Path, dict[str, bytes], dict[str, bytes], set[str]]:
        """Damages the newest checkpoint; returns its path, the files before and after, and the names of
        those that changed."""
        before = self.content()
        whole = checkpoint_files.whole_checkpoints(self.folder)
        path, note = damage(whole[20], random.Random(3))
        self.assertTrue(note)
        after = self.content()
        return path, before, after, {name for name in before.keys() | after.keys()
                                     if before.get(name) != after.get(name)}

    def test_whole_ones_have_a_manifest(self) -> None:
        self.assertEqual(list(checkpoint_files.whole_checkpoints(self.folder)), [10, 20])

    def test_truncate(self) -> None:
        path, before, after, changed = self.damaged(checkpoint_files.truncate)
        name = str(path.relative_to(self.folder))
        self.assertEqual(changed, {name})
        self.assertLess(len(after[name]), 100)
        self.assertTrue(before[name].startswith(after[name]))

    def test_flip(self) -> None:
        path, before, after, changed = self.damaged(checkpoint_files.flip)
        name = str(path.relative_to(self.folder))
        self.assertEqual(changed, {name})
        bits = [bin(old ^ new).count("1") for old, new in zip(before[name], after[name])]
        self.assertEqual(sum(bits), 1)

    def test_empty(self) -> None:
        path, _, after, changed = self.damaged(checkpoint_files.empty)
        self.assertEqual([after[name] for name in changed], [b""])
        self.assertEqual(path.stat().st_size, 0)

    def test_remove(self) -> None:
        path, _, _, changed = self.damaged(checkpoint_files.remove)
        self.assertEqual(changed, {str(path.relative_to(self.folder))})
        self.assertFalse(path.exists())

    def test_swap(self) -> None:
        _, before, after, changed = self.damaged(checkpoint_files.swap)
        first, second = sorted(changed)
        self.assertEqual((after[first], after[second]), (before[second], before[first]))

    def test_leave_over(self) -> None:
        for path in (self.folder / "step-0000000030").iterdir():
            path.unlink()
        _, before, after, _ = self.damaged(checkpoint_files.leave_over)
        self.assertEqual({name: after[name] for name in before}, before)
        self.assertEqual(len(checkpoint_files.temporary_files(self.folder)), 2)
        self.assertEqual(list(checkpoint_files.whole_checkpoints(self.folder)), [10, 20])


class DeckTest(unittest.TestCase):
    """The order of faults."""

    def test_same_seed_same_order_and_each_as_often(self) -> None:
        def deal(seed: int) -> list[str]:
            deck = Deck(process_faults(), random.Random(seed))
            dealt = []
            for _ in range(2 * len(process_faults())):
                fault = deck.next
                dealt.append(fault.name)
                deck.struck(fault, True)
            return dealt
        self.assertEqual(deal(1), deal(1))
        self.assertNotEqual(deal(1), deal(2))
        self.assertEqual({deal(1).count(fault.name) for fault in process_faults()}, {2})

    def test_what_did_not_count_has_another_turn(self) -> None:
        deck = Deck([Kill("worker")], random.Random(1))
        deck.struck(deck.next, False)
        deck.struck(deck.next, False)
        self.assertEqual(len(deck._waiting), 1)
        deck.struck(deck.next, False)
        self.assertEqual(len(deck._waiting), 0)

    def test_fitting(self) -> None:
        deck = Deck(network_faults(), random.Random(1))
        fitting = [deck.fitting(Layout(network="namespaces")), deck.fitting(Layout())]
        names = {fault.name for fault in fitting if fault is not None}
        self.assertEqual(len(names), 2)
        self.assertIsNone(Deck([fault for fault in network_faults() if fault.fits(Layout())],
                               random.Random(1)).fitting(Layout(network="namespaces")))

    def test_names_are_unique_and_can_be_chosen(self) -> None:
        faults = process_faults() + network_faults()
        self.assertEqual(len({fault.name for fault in faults}), len(faults))
        self.assertEqual([fault.name for fault in chosen(faults, ["worker-"], ["worker-stop"])],
                         ["worker-kill"])
        with self.assertRaisesRegex(Failure, "no fault is named nothing"):
            chosen(faults, ["nothing"], [])

    def test_points_are_different_faults(self) -> None:
        self.assertNotEqual(Point("server", "phase", (1, 2), True).name,
                            Point("server", "phase", (1, 2), False).name)


if __name__ == "__main__":
    unittest.main()
