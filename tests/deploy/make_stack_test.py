# SPDX-License-Identifier: Apache-2.0
"""deploy/swarm/make-stack: what it makes of a Compose file, in the forms of both docker-composes."""

import importlib.machinery
import importlib.util
import pathlib
import tempfile
import types
import unittest
from typing import Any

from deploy.project import ROOT


def load() -> types.ModuleType:
    """Returns the script as a module."""
    loader = importlib.machinery.SourceFileLoader("make_stack", str(ROOT / "deploy/swarm/make-stack"))
    spec = importlib.util.spec_from_loader("make_stack", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def server(ports: Any, volumes: Any) -> dict[str, Any]:
    """Returns a server's service."""
    command = ["pd-server", "--shards=1", "--http=0.0.0.0:8080", "--http_token_file=/tls/page-tokens"]
    return {"image": "percentdelta", "command": command, "mem_limit": "1g",
            "pids_limit": 512, "restart": "unless-stopped", "depends_on": ["certificates"],
            "build": {"context": "."}, "security_opt": ["no-new-privileges:true"],
            "read_only": True, "deploy": {"endpoint_mode": "dnsrr"}, "networks": {"default": None},
            "ports": ports, "volumes": volumes}


class MakeStackTest(unittest.TestCase):
    """Conversion."""

    def setUp(self) -> None:
        self.module = load()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in ("ca.pem", "shard-0.pem", "shard-0.key", "worker.pem", "worker.key",
                     "job.textproto"):
            (self.folder / name).write_text(name, encoding="utf-8")

    def make(self, of_server: dict[str, Any], shards: int = 1) -> Any:
        """Returns the stack of a server, workers and data."""
        worker = {"image": "percentdelta", "scale": 3,
                  "volumes": ["data:/data:ro", "tls-worker:/tls:ro"]}
        config = {"services": {"server-0": of_server, "worker": worker,
                               "data": {"image": "percentdelta-data", "volumes": ["data:/data"]}},
                  "networks": {"default": {"name": "percentdelta_default", "driver": "overlay"}}}
        return self.module.Stack(config, self.folder, "pd").make(shards)

    def test_converts_both_forms_alike(self) -> None:
        job = str(self.folder / "job.textproto")
        short = self.make(server(
            ["127.0.0.1:5001:5000/tcp", "127.0.0.1:8081:8080/tcp"],
            [f"{job}:/job.textproto:ro", f"{self.module.EXAMPLES}:/files:ro",
             "checkpoints:/checkpoints:rw", "tls-server-0:/tls:ro"]))
        long = self.make(server(
            [{"mode": "ingress", "host_ip": "127.0.0.1", "target": 5000, "published": "5001"},
             {"mode": "ingress", "host_ip": "127.0.0.1", "target": 8080, "published": "8081"}],
            [{"type": "bind", "source": job, "target": "/job.textproto", "read_only": True},
             {"type": "bind", "source": str(self.module.EXAMPLES), "target": "/files",
              "read_only": True},
             {"type": "volume", "source": "checkpoints", "target": "/checkpoints"},
             {"type": "volume", "source": "tls-server-0", "target": "/tls", "read_only": True}]))
        self.assertEqual(short, long)

        service = short["services"]["server-0"]
        # Without the live page.
        self.assertEqual(service["ports"], [{"target": 5000, "mode": "host", "published": 5001}])
        self.assertEqual(service["command"], ["pd-server", "--shards=1"])
        self.assertEqual(service["deploy"], {
            "endpoint_mode": "dnsrr", "resources": {"limits": {"memory": "1g", "pids": 512}}})
        self.assertEqual(service["volumes"], [{
            "type": "volume", "source": "checkpoints", "target": "/checkpoints", "read_only": False}])
        self.assertEqual([secret["target"] for secret in service["secrets"]],
                         ["/tls/ca.pem", "/tls/cert.pem", "/tls/key.pem"])
        self.assertEqual([secret["source"] for secret in service["secrets"]],
                         ["ca.pem", "shard-0.pem", "shard-0.key"])
        self.assertTrue(service["read_only"])
        self.assertEqual(set(self.module.DROPPED) & set(service), set())
        self.assertEqual(short["services"]["worker"]["deploy"]["replicas"], 3)
        self.assertEqual(short["volumes"], {"checkpoints": {}, "data": {}})
        self.assertNotIn("name", short["networks"]["default"])

    def test_other_content_has_another_name(self) -> None:
        service = server([], ["tls-server-0:/tls:ro"])
        before = self.make(service)["secrets"]
        (self.folder / "shard-0.key").write_text("renewed", encoding="utf-8")
        after = self.make(service)["secrets"]
        self.assertEqual({name for name in before if before[name] != after[name]}, {"shard-0.key"})

    def test_says_what_is_missing(self) -> None:
        service = server([], ["tls-server-0:/tls:ro"])
        with self.assertRaisesRegex(self.module.Failure, "expected the services server-1"):
            self.make(service, shards=2)
        (self.folder / "worker.key").unlink()
        with self.assertRaisesRegex(self.module.Failure, "worker.key: No such file"):
            self.make(service)


if __name__ == "__main__":
    unittest.main()
