# SPDX-License-Identifier: Apache-2.0
"""The compiler cache, asked as by ccache."""

import pathlib
import re
import tempfile
import unittest
import urllib.error
import urllib.request

from tests.compose.compiler_cache import CompilerCache


class CompilerCacheTest(unittest.TestCase):
    """Objects over HTTP."""

    def test_sends_its_objects_and_nothing_else(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "secret").write_bytes(b"no")
            with CompilerCache(folder) as cache:
                (folder / "objects/0a1b").write_bytes(b"object")
                found = re.search(r"http://[0-9.]+:[0-9]+", cache.compose_file())
                assert found is not None
                with urllib.request.urlopen(f"{found.group()}/0a1b") as answer:
                    self.assertEqual(answer.read(), b"object")
                for path in ("ffff", "../secret", "", "%2e%2e/secret"):
                    with self.assertRaises(urllib.error.HTTPError) as caught:
                        urllib.request.urlopen(f"{found.group()}/{path}")
                    self.assertEqual(caught.exception.code, 404)
                    caught.exception.close()
                self.assertEqual((cache.found, cache.asked), (1, 5))

    def test_every_service_that_builds_uses_it(self) -> None:
        with tempfile.TemporaryDirectory() as name, CompilerCache(pathlib.Path(name)) as cache:
            text = cache.compose_file()
            for service in ("data", "certificates", "server-0", "server-1", "worker", "pdctl"):
                self.assertIn(f"  {service}: {{build: {{network: host, args: "
                              "{CCACHE_REMOTE_STORAGE: ", text)


if __name__ == "__main__":
    unittest.main()
