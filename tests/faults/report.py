# SPDX-License-Identifier: Apache-2.0
"""The report of a run: as JSON, and as a table in docs/reliability.md."""

import dataclasses
import json
import math
import os
import pathlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.fault import Fault
from tests.faults.session import Session

GROUPS = ("processes", "points", "network", "disk", "files", "clock")


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least this share of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine() -> str:
    """Returns a short description of the machine."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", text)
    processor = re.sub(r"\s+", " ", found.group(1)).strip() if found else "unknown processor"
    return f"{processor}, {os.cpu_count()} cores"


def summary(session: Session, faults: Sequence[Fault], unavailable: dict[str, str], arguments: str,
            seconds: float) -> dict[str, Any]:
    """Returns the whole run, ready for JSON."""
    injections = [dataclasses.asdict(made) for made in session.injections]
    paces = session.undisturbed.steps_per_second
    return {
        "command": arguments,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "seconds": round(seconds),
        "trainings": session.trainings,
        "weights": session.undisturbed.checksum,
        "undisturbed_steps_per_second": {
            network + (", jumping clock" if clock else ""): round(pace, 2)
            for (network, clock), pace in paces.items()},
        "faults": {fault.name: {"what": fault.what, "group": fault.group} for fault in faults},
        "in_vain": session.in_vain,
        "not_run": unavailable,
        "injections": injections,
    }


def _row(name: str, injections: Sequence[Mapping[str, Any]]) -> str:
    recoveries = [made["recovery"] for made in injections]
    useful = sum(made["useful"] for made in injections)
    recomputed = sum(made["recomputed"] for made in injections)
    goodput = useful / (useful + recomputed) if useful + recomputed else 1
    return (f"| {name} | {len(injections)} | {len(injections)} of {len(injections)} the same "
            f"| {percentile(recoveries, 0.5):.1f} | {percentile(recoveries, 0.99):.1f} "
            f"| {recomputed / len(injections):.1f} | {100 * goodput:.0f} % |")


def table(result: Mapping[str, Any]) -> str:
    """Returns the table of faults, in Markdown."""
    injections = result["injections"]
    lines = ["| fault | injected | weights | recovery p50, s | p99, s | steps done again | goodput |",
             "|:--|--:|:--|--:|--:|--:|--:|"]
    for group in GROUPS:
        for name, fault in result["faults"].items():
            made = [each for each in injections if each["fault"] == name]
            if fault["group"] == group and made:
                lines.append(_row(f"`{name}` {fault['what']}", made))
    if injections:
        lines.append(_row("**all**", injections))
    return "\n".join(lines)


def page(result: Mapping[str, Any]) -> str:
    """Returns the text between the markers of docs/reliability.md."""
    count = len(result["injections"])
    useful = sum(made["useful"] for made in result["injections"])
    seconds = sum(made["seconds"] for made in result["injections"])
    pace = result["undisturbed_steps_per_second"].get("loopback", 0)
    lines = [f"`{result['command']}`, {result['date']}, {result['machine']}: {count} faults in "
             f"{result['trainings']} trainings and {result['seconds'] / 60:.0f} minutes; every "
             f"training ended with the weights `{result['weights'][:16]}...` of the undisturbed one.",
             "", table(result)]
    if seconds and pace:
        lines += ["", f"With a fault every {seconds / max(count, 1):.1f} s a training made "
                  f"{useful / seconds:.1f} steps a second; undisturbed {pace:.1f}."]
    never = [name for name in result["faults"]
             if not any(made["fault"] == name for made in result["injections"])]
    lines += ["", "Not run: " + "; ".join(
        [f"`{name}` ({reason})" for name, reason in result["not_run"].items()]
        + [f"`{name}` (not this time)" for name in never]) + "."
        if result["not_run"] or never else "Every kind of fault was run."]
    return "\n".join(lines)


def write_between(path: pathlib.Path, marker: str, text: str) -> None:
    """Replaces the text between <!-- marker --> and <!-- end of marker --> in a file."""
    begin, end = f"<!-- {marker} -->\n", f"<!-- end of {marker} -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no place for {marker}: {begin.strip()} and {end}")
    path.write_text(before + begin + text + "\n" + end + after)


def write_json(path: pathlib.Path, result: Mapping[str, Any]) -> None:
    """Writes the whole result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
