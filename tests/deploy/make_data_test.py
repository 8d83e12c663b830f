# SPDX-License-Identifier: Apache-2.0
"""deploy/make-data makes the specified data, once, and the jobs train on it."""

import csv
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

from deploy.project import JOBS, ROOT

PD_LOCAL = os.environ.get("PD_LOCAL")  # of the build; without it nothing is trained


def make_data(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs deploy/make-data."""
    return subprocess.run([sys.executable, "-B", ROOT / "deploy" / "make-data", *arguments],
                          capture_output=True, text=True, check=False)


class MakeDataTest(unittest.TestCase):
    """Each data set is made once for all tests."""

    temporary: tempfile.TemporaryDirectory[str]
    directories: dict[str, pathlib.Path]

    @classmethod
    def setUpClass(cls) -> None:
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.directories = {}
        for name in ("ratings", "documents"):
            directory = pathlib.Path(cls.temporary.name) / name
            made = make_data(name, str(directory))
            if made.returncode != 0:
                raise AssertionError(made.stderr)
            cls.directories[name] = directory

    def words(self, name: str, stem: str) -> tuple[list[tuple[int, ...]], bytes]:
        """Returns the examples as tuples of words, and their labels."""
        images = (self.directories[name] / f"{stem}-images-idx3-ubyte").read_bytes()
        labels = (self.directories[name] / f"{stem}-labels-idx1-ubyte").read_bytes()
        magic, count, rows, columns = struct.unpack_from(">4I", images)
        self.assertEqual((magic, rows), (0x803, 1))
        self.assertEqual(struct.unpack_from(">2I", labels), (0x801, count))
        self.assertEqual(len(images), 16 + count * columns)
        self.assertEqual(len(labels), 8 + count)
        self.assertLess(max(labels[8:]), 10)
        return list(struct.iter_unpack(f">{columns // 2}H", images[16:])), labels[8:]

    def test_ratings_are_of_pairs_that_differ(self) -> None:
        """Every user rates, every item is rated, no pair occurs twice."""
        training, _ = self.words("ratings", "train")
        test, _ = self.words("ratings", "t10k")
        self.assertEqual((len(training), len(test)), (200000, 20000))
        self.assertEqual(len(set(training + test)), 220000)
        users, items = map(set, zip(*training))
        self.assertEqual(users, set(range(2000)))
        self.assertEqual(items, set(range(1000)))

    def test_documents_have_words(self) -> None:
        """8 to 32 words of the vocabulary, then zeros."""
        for stem, count in (("train", 60000), ("t10k", 10000)):
            documents, _ = self.words("documents", stem)
            self.assertEqual(len(documents), count)
            lengths = set()
            for document in documents:
                length = document.index(0) if 0 in document else len(document)
                self.assertFalse(any(document[length:]))
                self.assertLess(max(document), 2000)
                lengths.add(length)
            self.assertEqual(lengths, set(range(8, 33)))

    def test_again_changes_nothing(self) -> None:
        """Correct files are left alone."""
        directory = self.directories["ratings"]
        before = {file.name: file.stat().st_mtime_ns for file in directory.iterdir()}
        self.assertEqual(len(before), 4)
        self.assertEqual(make_data("ratings", str(directory)).returncode, 0)
        after = {file.name: file.stat().st_mtime_ns for file in directory.iterdir()}
        self.assertEqual(after, before)

    def test_a_wrong_file_is_replaced_and_kept(self) -> None:
        """It may be a user's file."""
        directory = self.directories["ratings"]
        labels = directory / "t10k-labels-idx1-ubyte"
        right = labels.read_bytes()
        labels.write_bytes(right[:-1] + b"\x0a")
        made = make_data("ratings", str(directory))
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(labels.read_bytes(), right)
        kept = directory / "t10k-labels-idx1-ubyte.unexpected"
        self.assertIn(kept.name, made.stderr)
        self.assertEqual(kept.read_bytes()[-1], 10)
        kept.unlink()
        self.assertEqual(len(list(directory.iterdir())), 4)

    def test_bad_arguments_are_refused(self) -> None:
        """With exit code 2; with 1 if the folder cannot be made."""
        self.assertEqual(make_data("mnist").returncode, 2)
        self.assertEqual(make_data().returncode, 2)
        made = make_data("ratings", os.devnull + "/x")
        self.assertEqual(made.returncode, 1)
        self.assertIn("/dev/null", made.stderr)

    @unittest.skipUnless(PD_LOCAL, "no PD_LOCAL")
    def test_the_jobs_train_on_it(self) -> None:
        """The loss falls in the first steps of each job."""
        for name, directory in self.directories.items():
            report = pathlib.Path(self.temporary.name) / f"{name}-report"
            subprocess.run([str(PD_LOCAL), f"--job={JOBS / name}.textproto", f"--data={directory}",
                            "--steps=40", "--shards=2", "--workers=2", f"--report={report}"],
                           check=True, stdout=subprocess.DEVNULL)
            with open(report / "progress.csv", encoding="utf-8") as file:
                losses = [float(row["test_loss"]) for row in csv.DictReader(file)
                          if row["test_loss"]]
            self.assertEqual(len(losses), 3)
            self.assertLess(losses[2], 0.96 * losses[0])


if __name__ == "__main__":
    unittest.main()
