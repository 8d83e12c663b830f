# SPDX-License-Identifier: Apache-2.0
"""deploy/tls/make-certs: which certificates it renews."""

import pathlib
import subprocess
import tempfile
import unittest

from deploy.project import ROOT

NAMES = ("ca", "shard-0", "shard-1", "worker", "operator", "viewer")


def make_certs(folder: str, *options: str) -> None:
    """Runs it."""
    subprocess.run([ROOT / "deploy/tls/make-certs", folder, *options], check=True)


def contents(folder: str) -> dict[str, bytes]:
    """Returns all certificates."""
    return {name: pathlib.Path(folder, f"{name}.pem").read_bytes() for name in NAMES}


class MakeCertsTest(unittest.TestCase):
    """Runs with a folder that has certificates."""

    def check_renews(self, expected: tuple[str, ...], *options: str) -> None:
        """The second run makes the expected certificates anew, and no others."""
        with tempfile.TemporaryDirectory() as folder:
            make_certs(folder, "--hosts=127.0.0.1,::1,shard-0=server-0")
            before = contents(folder)
            make_certs(folder, *options)
            after = contents(folder)
            self.assertEqual(tuple(name for name in NAMES if before[name] != after[name]), expected)

    def test_renews_all_but_the_ca(self) -> None:
        self.check_renews(NAMES[1:], "--hosts=127.0.0.1")

    def test_keep_leaves_what_is_good(self) -> None:
        self.check_renews((), "--keep", "--hosts=127.0.0.1,::1,shard-0=server-0")

    def test_keep_renews_what_lacks_a_name(self) -> None:
        self.check_renews(("shard-1",), "--keep",
                          "--hosts=127.0.0.1,::1,shard-0=server-0,shard-1=server-1")
        self.check_renews(("shard-0", "shard-1"), "--keep", "--hosts=127.0.0.1,10.0.0.1")

    def test_keep_renews_what_expires_soon_or_is_of_another_domain(self) -> None:
        # Valid for 30 days, which is less than a third of 100.
        self.check_renews(NAMES[1:], "--keep", "--hosts=127.0.0.1", "--days=100")
        self.check_renews(NAMES[1:], "--keep", "--hosts=127.0.0.1", "--domain=other.test")


if __name__ == "__main__":
    unittest.main()
