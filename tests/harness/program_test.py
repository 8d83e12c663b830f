# SPDX-License-Identifier: Apache-2.0
"""How a program that tests something ends, and what is left of its folder; and waiting."""

import contextlib
import io
import os
import pathlib
import signal
import tempfile
import unittest
from collections.abc import Callable
from unittest import mock

from tests.harness import waiting
from tests.harness.errors import Failure, Skipped, Violation
from tests.harness.program import make_clock, run_program


class ProgramTest(unittest.TestCase):
    """run_program()."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.top = pathlib.Path(temporary.name)
        place = mock.patch("tempfile.tempdir", temporary.name)
        place.start()
        self.addCleanup(place.stop)
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))

    def run_with(self, end: Callable[[], int | None], keep: bool = False) -> tuple[int, str]:
        """Returns the exit code and the output."""

        def test(folder: pathlib.Path) -> int | None:
            self.assertEqual((folder.parent, folder.name[:8]), (self.top, "pd-some-"))
            (folder / "inner/empty").mkdir(parents=True)
            for name in ("a.log", "a.dat", "inner/b.log", "inner/b.dat"):
                (folder / name).touch()
            (folder / "link.log").symlink_to(folder)
            return end()

        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
            code = run_program("tests/some/run", test, keep, kept=("**/*.log",))
        return code, said.getvalue()

    def left(self) -> list[str]:
        """What is left of the folder."""
        return sorted(str(path.relative_to(self.top)).partition("/")[2]
                      for path in self.top.rglob("*"))

    def test_removes_the_folder(self) -> None:
        self.assertEqual(self.run_with(lambda: None), (0, ""))
        self.assertEqual(self.left(), [])

    def test_keeps_what_is_wanted(self) -> None:
        code, said = self.run_with(lambda: None, keep=True)
        self.assertEqual((code, said.partition(str(self.top))[0]), (0, "kept: "))
        self.assertEqual(self.left(), ["", "a.log", "inner", "inner/b.log"])

    def test_failures(self) -> None:
        for error in (Failure("no\nthing"), Violation("no\nthing")):
            code, said = self.run_with(mock.Mock(side_effect=error))
            self.assertEqual(code, 1)
            self.assertTrue(said.startswith("tests/some/run: FAILED: no\nthing\nkept: "), said)
        code, said = self.run_with(mock.Mock(side_effect=ZeroDivisionError))
        self.assertEqual(code, 1)
        self.assertIn("ZeroDivisionError\nkept: ", said)
        self.assertEqual(self.run_with(lambda: 3)[0], 3)
        self.assertEqual(self.left().count("inner/b.log"), 4)

    def test_other_ends(self) -> None:
        self.assertEqual(self.run_with(mock.Mock(side_effect=Skipped("no root"))),
                         (0, "tests/some/run: SKIPPED: no root\n"))
        self.assertEqual(self.run_with(mock.Mock(side_effect=KeyboardInterrupt)),
                         (130, "\ninterrupted\n"))
        with self.assertRaises(SystemExit) as caught:
            self.run_with(lambda: os.kill(os.getpid(), signal.SIGTERM))
        self.assertEqual(caught.exception.code, 143)
        self.assertEqual(self.left(), [])

    def test_clock(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            make_clock()("done")
        self.assertEqual(said.getvalue(), "    0 s  done\n")


class WaitingTest(unittest.TestCase):
    """wait_for()."""

    def test_the_first_value(self) -> None:
        with mock.patch("time.sleep") as sleep:
            got: object = waiting.wait_for(mock.Mock(side_effect=[None, False, 7, 8]), "a number")
        self.assertEqual((got, sleep.call_count), (7, 2))

    def test_too_late(self) -> None:
        with self.assertRaisesRegex(Violation, "^waited 0 s for a number; got none$"):
            waiting.wait_for(lambda: None, "a number", 0, report=lambda: "got none")


if __name__ == "__main__":
    unittest.main()
