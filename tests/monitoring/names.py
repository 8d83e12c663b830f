# SPDX-License-Identifier: Apache-2.0
"""Names that must agree: of metrics in the processes, the documentation, the alert rules and the
dashboard; of keys and events in the log's call sites."""

import json
import pathlib
import re

from deploy.project import ROOT
from tests.harness.commands import run
from tests.harness.errors import Violation

DOCUMENT = ROOT / "docs/observability.md"
RULES = ROOT / "deploy/monitoring/alerts.yml"
DASHBOARD = ROOT / "deploy/monitoring/grafana/dashboard.json"
METRIC = re.compile(r"\b(?:percentdelta|process)_[a-z0-9_]+\b")
OWN_SUFFIX = re.compile(r"_(?:bucket|sum|count)$")
# A call of Logger, up to the end of its format.
LOG_CALL = re.compile(r'\b(?:log_?|log\(\))->(?:debug|info|warn|error)\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
KEY = re.compile(r"(?:^| )([A-Za-z_][A-Za-z0-9_]*)=")
# Served only where workers report metrics of their own.
IF_REPORTED = {"percentdelta_worker_metric"}
# What every JSON line has.
RESERVED = {"time", "level", "process", "event"}


def documented() -> set[str]:
    """Returns the names in the table of metrics."""
    rows = re.findall(r"(?m)^\| `((?:percentdelta|process)_[a-z0-9_]+)`", DOCUMENT.read_text())
    if len(rows) != len(set(rows)):
        raise Violation(f"{DOCUMENT.name}: a metric is listed twice")
    return set(rows)


def check_documented(served: set[str]) -> None:
    """Throws Violation unless the document lists the metrics that are served, and no others."""
    difference = (served ^ documented()) - IF_REPORTED
    if difference:
        raise Violation(f"docs/observability.md: expected the metrics that processes serve, got more "
                        f"or fewer: {', '.join(sorted(difference))}")


def check_used(path: pathlib.Path) -> int:
    """Throws Violation if the file uses a metric that is not documented. Returns how many it uses."""
    text = path.read_text()
    if path.suffix == ".json":
        text = "\n".join(_expressions(json.loads(text)))
    known = documented()
    names = set(METRIC.findall(text))
    unknown = {name for name in names if name not in known and OWN_SUFFIX.sub("", name) not in known}
    if unknown or not names:
        raise Violation(f"{path.relative_to(ROOT)}: expected metrics of docs/observability.md, got "
                        f"{', '.join(sorted(unknown)) or 'none'}")
    return len(names)


def check_dashboard_is_made() -> None:
    """Throws Violation unless the dashboard is what its script prints."""
    if run(ROOT / "deploy/monitoring/make-dashboard") != DASHBOARD.read_text():
        raise Violation("deploy/monitoring/grafana/dashboard.json: expected what "
                        "deploy/monitoring/make-dashboard prints, got another text")


def check_log_calls() -> int:
    """Throws Violation for a call whose format makes a bad line of JSON. Returns the number of calls."""
    calls = 0
    for top in ("common", "server", "client", "worker", "deploy/local"):
        for path in sorted((ROOT / top).rglob("*.cc")):
            for literal in LOG_CALL.findall(path.read_text()):
                calls += 1
                _check_format(f"{path.relative_to(ROOT)}: \"{''.join(_pieces(literal))}\"",
                              "".join(_pieces(literal)))
    return calls


def _pieces(literal: str) -> list[str]:
    """The C string literals of an expression, without quotes and escapes."""
    return [piece.replace('\\"', '"') for piece in re.findall(r'"((?:[^"\\]|\\.)*)"', literal)]


def _check_format(place: str, text: str) -> None:
    unquoted = re.sub(r'"[^"]*"', '""', text)
    keys = KEY.findall(unquoted)
    event = re.split(r"(?:^| )[a-z_][a-z0-9_]*=", unquoted)[0]
    if not event.strip():
        raise Violation(f"{place}: expected words before the first key, got none")
    if len(keys) != len(set(keys)) or RESERVED & set(keys):
        raise Violation(f"{place}: expected each key once, and none of {sorted(RESERVED)}")
    if any(key != key.lower() for key in keys):
        raise Violation(f"{place}: expected keys in lower case, got {keys}")
    # A value ends at the next blank, unless it is quoted: what follows would be lost in it.
    for value in re.findall(r"=([^ ]*)(?: (?![a-z_][a-z0-9_]*=)|$)", unquoted)[:-1]:
        raise Violation(f"{place}: expected a key after the value {value}, got words")


def _expressions(node: object) -> list[str]:
    """All queries of a dashboard."""
    if isinstance(node, dict):
        own = [node["expr"]] if "expr" in node else []
        return own + [text for value in node.values() for text in _expressions(value)]
    if isinstance(node, list):
        return [text for value in node for text in _expressions(value)]
    return []
