# SPDX-License-Identifier: Apache-2.0
"""Tests that the check of the documents finds what is missing, and nothing else."""

from __future__ import annotations

import pathlib
import tempfile
import unittest

from tests.docs import links


class LinksTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for path in ("common/job/job.h", "common/job/job.cc", "deploy/build", "docs/other.md"):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text("# One heading\n\n## `Two` of [them](x)\n", "utf-8")
        (self.root / "common/job/job.h").write_text("struct JobSpec { void Check(); };", "utf-8")

    def messages(self, text: str) -> list[str]:
        document = self.root / "docs" / "page.md"
        document.write_text(text, encoding="utf-8")
        return [found.message for found in links.check(document, links.Project(self.root))]

    def test_what_exists(self) -> None:
        for text in (
            "[a](other.md), [b](other.md#one-heading), [c](other.md#two-of-them)",
            "[a](../common/job/job.h), ![b](other.md)",
            "[a](https://example.org/nothing), [b](#here)\n\n# Here",
            "`common/job/`, `common/job/job.h`, `common/job/job.{h,cc}`, `common/*/job.h`",
            "`deploy/build release pd-server`, `job.h`, `job*.h`, `worker.py`",
            "    deploy/build release",
            "`JobSpec`, `JobSpec::Check`, `JobSpec()`, `Another`, `ANOTHER_NAME`",
            "`FooRule`, `common/foo.{h,cc}`, `common/job/foo_test.cc`, `foo.h`",
            "`deploy/jobs/mnist-foo.textproto`",
            "`build/release/server/pd-server`, `data/mnist`, `a/b`, `v = 1/2`, `conv1/weights`",
        ):
            with self.subTest(text):
                self.assertEqual(self.messages(text), [])

    def test_what_is_missing(self) -> None:
        for text, expected in (
            ("[a](none.md)", "no such file: none.md"),
            ("![a](none.png)", "no such file: none.png"),
            ("[a](other.md#none)", "no such heading: other.md#none"),
            ("`common/none.h`", "no such path: common/none.h"),
            ("`common/job/job.{h,py}`", "no such path: common/job/job.{h,py}"),
            ("`deploy/none release`", "no such path: deploy/none"),
            ("`common/food.h`", "no such path: common/food.h"),
            ("`JobSpecs`", "no such name in the sources: JobSpecs"),
            ("`JobSpec::Checks`", "no such name in the sources: Checks"),
            ("`none.h`", "no file of this name: none.h"),
            ("    deploy/none release", "no such path: deploy/none"),
            ("```\ndeploy/none release\n```", "no such path: deploy/none"),
        ):
            with self.subTest(text):
                self.assertEqual(self.messages(text), [expected])


if __name__ == "__main__":
    unittest.main()
