# SPDX-License-Identifier: Apache-2.0
"""The reports of faults and of a soak, and the job."""

import pathlib
import random
import tempfile
import types
import unittest
from collections.abc import Callable
from typing import Any

from tests.faults import report, soak
from tests.harness.job import job_text


class ReportTest(unittest.TestCase):
    """Tables."""

    def test_percentiles(self) -> None:
        values = list(range(1, 101))
        random.Random(1).shuffle(values)
        self.assertEqual(report.percentile(values, 0.5), 50)
        self.assertEqual(report.percentile(values, 0.99), 99)
        self.assertEqual(report.percentile([4], 0.99), 4)

    def test_table(self) -> None:
        made: dict[str, Any] = {
            "fault": "x-kill", "recovery": 2.0, "useful": 30, "recomputed": 10, "seconds": 4.0}
        result = {"command": "run", "date": "today", "machine": "this", "seconds": 60,
                  "trainings": 1, "weights": "ab" * 32,
                  "undisturbed_steps_per_second": {"loopback": 20.0},
                  "faults": {"x-kill": {"what": "x dies", "group": "processes"},
                             "y-kill": {"what": "y dies", "group": "processes"}},
                  "not_run": {"z-kill": "no z here"},
                  "injections": [made, {**made, "recovery": 4.0}]}
        text = report.page(result)
        self.assertIn("| `x-kill` x dies | 2 | 2 of 2 the same | 2.0 | 4.0 | 10.0 | 75 % |", text)
        self.assertIn("Not run: `z-kill` (no z here); `y-kill` (not this time).", text)
        self.assertIn("With a fault every 4.0 s a training made 7.5 steps a second; undisturbed "
                      "20.0.", text)

    def test_written_between_markers(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "page.md"
            path.write_text("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n")
            report.write_between(path, "x", "new")
            self.assertEqual(path.read_text(), "a\n<!-- x -->\nnew\n<!-- end of x -->\nb\n")
            with self.assertRaises(ValueError):
                report.write_between(path, "y", "new")


class SoakTest(unittest.TestCase):
    """Growth."""

    @staticmethod
    def samples(rss: Callable[[float], float] = lambda at: 100,
                threads: Callable[[int], int] = lambda at: 9,
                lives: int = 1000) -> list[soak.TimedSample]:
        """Returns samples of a process that is restarted every `lives` seconds."""
        return [(at, "server-1", at % lives,
                 types.SimpleNamespace(rss=rss(at) * 1000000, threads=threads(at), descriptors=20))
                for at in range(600)]

    def test_flat(self) -> None:
        for lives in (1000, 35):
            rows = soak.compare(self.samples(lives=lives), 600)
            self.assertTrue(rows)
            self.assertEqual(soak.violations_of(rows), [])

    def test_the_first_minute_does_not_count(self) -> None:
        rows = soak.compare(self.samples(rss=lambda at: min(at, 60)), 600)
        self.assertEqual(soak.violations_of(rows), [])

    def test_memory_that_grows(self) -> None:
        rows = soak.compare(self.samples(rss=lambda at: 100 + at / 60), 600)
        self.assertRegex(soak.violations_of(rows)[0], "server-1 .*: resident memory grew")

    def test_memory_that_grows_with_age_does_not_count_for_the_young(self) -> None:
        rows = soak.compare(self.samples(rss=lambda at: 100 + at % 35, lives=35), 600)
        self.assertEqual(soak.violations_of(rows), [])

    def test_memory_that_grows_from_life_to_life(self) -> None:
        rows = soak.compare(self.samples(rss=lambda at: 100 + at / 10, lives=35), 600)
        self.assertRegex(soak.violations_of(rows)[0], "server-1 at the age of 10 .*: resident memory")

    def test_threads_that_leak(self) -> None:
        rows = soak.compare(self.samples(threads=lambda at: 9 + at // 50), 600)
        self.assertRegex(soak.violations_of(rows)[0], "threads grew from")


class JobTest(unittest.TestCase):
    """The job that is trained."""

    def test_is_small(self) -> None:
        text = job_text(50, "/somewhere", every_steps=5)
        self.assertIn("max_steps: 50\n", text)
        self.assertIn("batch_size: 20\n", text)
        self.assertEqual(text.count("checkpoint {"), 1)
        self.assertIn('checkpoint { every_steps: 5 directory: "/somewhere" keep: 2 }', text)
        self.assertNotIn("60000", text)


if __name__ == "__main__":
    unittest.main()
