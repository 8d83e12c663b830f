# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus on a training, with the project's alert rules made quick."""

import json
import math
import pathlib
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.project import ROOT
from tests.harness.commands import run
from tests.harness.ports import HOST, free_ports
from tests.harness.processes import Process
from tests.harness.waiting import wait_for

RULES = ROOT / "deploy/monitoring/alerts.yml"
CONFIGURATION = """
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [alerts.yml]
scrape_configs:
"""


def quick_rules() -> str:
    """Returns the alert rules with waits of a second, and a stall of 4 seconds."""
    text = RULES.read_text()
    text = re.sub(r"(?m)^( *)for: .*", r"\1for: 1s", text)
    return text.replace("[2m]", "[4s]")


class Prometheus:
    """A server that scrapes each second. A context."""

    def __init__(self, folder: pathlib.Path, targets: Mapping[str, Sequence[str]]) -> None:
        """`targets`: addresses by name of the job."""
        folder.mkdir(parents=True)
        (folder / "alerts.yml").write_text(quick_rules())
        jobs = [{"job_name": name, "static_configs": [{"targets": list(addresses)}]}
                for name, addresses in targets.items()]
        configuration = folder / "prometheus.yml"
        configuration.write_text(CONFIGURATION
                                 + "".join(f"- {json.dumps(job)}\n" for job in jobs))
        run("promtool", "check", "config", configuration)
        port = free_ports(1)[0]
        self._address = f"http://{HOST}:{port}"
        self._targets = sum(map(len, targets.values()))
        self._process = Process("prometheus", [
            "prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{port}"], folder / "prometheus.log")

    def __enter__(self) -> "Prometheus":
        self._process.start()
        wait_for(lambda: self.up() == self._targets, "all targets of Prometheus to be up", 30)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def pause(self) -> None:
        """Stops it, so that it scrapes no more."""
        self._process.stop()

    def resume(self) -> None:
        """Continues it."""
        self._process.resume()

    def up(self) -> int:
        """Returns the number of targets that were scraped."""
        return int(self.query("sum(up)").get("", 0))

    def query(self, expression: str) -> dict[str, float]:
        """Returns the newest values of an expression, by labels as in 'set=test,shard=0'."""
        words = urllib.parse.urlencode({"query": expression})
        result = self._get(f"query?{words}").get("result", [])
        return {_label_text(each["metric"]): _number(each["value"][1]) for each in result}

    def firing(self) -> set[str]:
        """Returns the names of the alerts that fire."""
        alerts = self._get("alerts").get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def await_alert(self, name: str, limit: float = 30) -> None:
        """Waits until the alert fires."""
        wait_for(lambda: name in self.firing(), f"the alert {name}", limit,
                 report=lambda: f"firing: {sorted(self.firing())}")

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self._address}/api/v1/{path}", timeout=5) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
                return data
        except OSError:
            return {}  # it starts


def _label_text(labels: Mapping[str, str]) -> str:
    hidden = ("__name__", "job", "instance")
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()) if key not in hidden)


def _number(text: str) -> float:
    return math.nan if text == "NaN" else float(text)
