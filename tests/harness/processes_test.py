# SPDX-License-Identifier: Apache-2.0
"""Processes of the harness: real ones, started, stopped and killed."""

import pathlib
import signal
import tempfile
import time
import unittest

from tests.harness.errors import Violation
from tests.harness.processes import Process, Sample, check_killed


class ProcessTest(unittest.TestCase):
    """Real processes."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = pathlib.Path(folder.name) / "log"

    def process(self, *command: str) -> Process:
        """Starts a process."""
        process = Process("it", command, self.log)
        self.addCleanup(process.close)
        process.start()
        return process

    def test_kill_and_start_again(self) -> None:
        process = self.process("sleep", "100")
        process.signal(signal.SIGKILL)
        check_killed(process)
        self.assertEqual(process.exit_code, -9)
        process.start()
        self.assertTrue(process.runs)
        self.assertEqual(process.incarnations, 2)

    def test_stop_and_resume(self) -> None:
        process = self.process("sleep", "100")
        process.stop()
        self.assertTrue(process.stopped)
        process.resume()
        until = time.monotonic() + 5
        while process.stopped and time.monotonic() < until:
            time.sleep(0.01)
        self.assertFalse(process.stopped)

    def test_end_that_was_not_a_kill(self) -> None:
        process = self.process("sh", "-c", "echo oh dear; exit 3")
        with self.assertRaisesRegex(Violation, "got exit code 3\n.*oh dear"):
            check_killed(process)

    def test_end_that_does_not_happen(self) -> None:
        with self.assertRaisesRegex(Violation, "has not ended 0.1 s after being asked"):
            self.process("sleep", "100").wait(0.1, "being asked")

    def test_sample(self) -> None:
        process = self.process("sleep", "100")
        # A process that has just started has no memory yet.
        until = time.monotonic() + 5
        held = Sample(process.pid)
        while held.rss < 100000 and time.monotonic() < until:
            time.sleep(0.01)
            held = Sample(process.pid)
        self.assertEqual(held.threads, 1)
        self.assertGreater(held.rss, 100000)
        self.assertGreaterEqual(held.descriptors, 3)


if __name__ == "__main__":
    unittest.main()
