# SPDX-License-Identifier: Apache-2.0
"""Commands of the harness, the status that it reads, and the programs that it finds."""

import json
import pathlib
import tempfile
import unittest
from unittest import mock

from deploy.project import Binaries
from tests.harness import commands
from tests.harness.errors import Failure
from tests.harness.status import Status


class RunTest(unittest.TestCase):
    """run(), succeeds(), persistently()."""

    def test_output_is_returned(self) -> None:
        self.assertEqual(commands.run("sh", "-c", "echo $WHAT; echo no >&2",
                                      environment={"WHAT": "yes"}), "yes\n")

    def test_output_goes_to_a_log(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log"
            self.assertEqual(commands.run("sh", "-c", "echo one; echo two >&2", log=log), "")
            self.assertEqual(log.read_text(), "one\ntwo\n")

    def test_failures_have_the_command_the_code_and_the_last_lines(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for log in (None, pathlib.Path(folder) / "log"):
                with self.assertRaises(Failure) as caught:
                    commands.run("sh", "-c", "seq 100 >&2; exit 3", log=log)
                message = str(caught.exception)
                self.assertIn("sh -c seq 100 >&2; exit 3: exit code 3\n", message)
                self.assertTrue(message.endswith("    99\n    100"), message)
                self.assertNotIn("\n    60\n", message)

    def test_success(self) -> None:
        self.assertTrue(commands.succeeds("true"))
        self.assertFalse(commands.succeeds("false"))

    def test_tries_three_times(self) -> None:
        said: list[str] = []
        with mock.patch("time.sleep") as sleep:
            action = mock.Mock(side_effect=[Failure("one\nmore"), Failure("two"), None])
            commands.persistently(action, said.append)
            self.assertEqual(said, ["failed, trying again in 10 s: one",
                                    "failed, trying again in 20 s: two"])
            with self.assertRaisesRegex(Failure, "always"):
                commands.persistently(mock.Mock(side_effect=Failure("always")), said.append)
            self.assertEqual(sleep.call_count, 4)


class StatusTest(unittest.TestCase):
    """pdctl status --format=json."""

    def test_parse(self) -> None:
        fields = {"state": "training", "message": "", "generation": 7, "step": 3, "max_steps": 9,
                  "expired_leases": 2, "speculative_leases": 1, "checkpoint": None,
                  "last_training": None}
        status = Status.parse(json.dumps(fields))
        self.assertEqual((status.step, status.reassigned, status.checkpoint_step), (3, 3, -1))
        self.assertFalse(status.finished)
        fields.update(state="finished", checkpoint={"step": 0},
                      last_training={"step": 8, "seconds": 1.5})
        status = Status.parse(json.dumps(fields))
        self.assertEqual((status.checkpoint_step, status.newest_training_step), (0, 8))
        self.assertTrue(status.finished)


class BinariesTest(unittest.TestCase):
    """The places of the programs in a build."""

    def test_places(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            binaries = Binaries(folder)
            with self.assertRaisesRegex(Failure, "pdctl: expected .* deploy/build release pdctl"):
                print(binaries.pdctl)
            (folder / "client").mkdir()
            (folder / "client/pdctl").write_text("")
            self.assertEqual(binaries.pdctl, folder / "client/pdctl")
            (folder / "client/pdctl").unlink()
            (folder / "client/pdctl").mkdir()
            (folder / "client/pdctl/pdctl").write_text("")
            self.assertEqual(binaries.pdctl, folder / "client/pdctl/pdctl")


if __name__ == "__main__":
    unittest.main()
