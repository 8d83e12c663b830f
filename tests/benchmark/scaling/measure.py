# SPDX-License-Identifier: Apache-2.0
"""The constants of the cost model, and steps of real clusters to compare the model with: measured
on this machine, kept in measurements.json.

Everything is measured in rounds, and medians over the rounds are taken: a temporary disturbance of the
machine affects all of it alike. All times in the file are milliseconds.
"""

import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from tests.benchmark.scaling.costs import MEASUREMENTS
from tests.benchmark.scaling.processes import BINARIES, Cluster, job_text, tiny_job_text
from tests.harness.errors import Failure

BUSY = 2  # null workers at a time that make a machine of two cores busy
FRESH_SLOTS = 15  # that each of them pushes into memory fresh from the kernel

# Steps to compare with: workers, shards, slots, threads of a worker. With 0 threads they are null
# workers, whose gradients cost nothing: only the servers and the network remain.
STEPS = [
    (1, 1, 1, 0), (1, 2, 1, 0), (1, 4, 1, 0), (1, 1, 4, 0), (2, 1, 2, 0), (2, 2, 2, 0),
    (2, 2, 4, 0), (4, 1, 4, 0), (4, 2, 4, 0), (4, 4, 4, 0), (4, 1, 16, 0), (4, 1, 32, 0),
    (1, 1, 1, 1), (1, 1, 1, 2), (1, 2, 1, 2), (1, 4, 1, 2), (1, 1, 4, 2), (2, 1, 2, 1),
    (2, 2, 2, 1), (2, 4, 2, 1), (2, 2, 4, 1), (4, 1, 4, 1), (4, 2, 4, 1), (4, 4, 4, 1),
]
NULL_LEASES = 200  # of a run
REAL_LEASES = 40


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found.group(1).strip() if found else "unknown"


def _layers() -> dict[str, list[int]]:
    """Returns the entries of each layer's tensors, in the job's order, from the built-in job's text."""
    layers: dict[str, list[int]] = {}
    for name, shape in re.findall(r'name: "(\S+/\S+)"\s+shape: \[([^\]]*)\]', job_text()):
        entries = 1
        for dimension in shape.split(","):
            entries *= int(dimension)
        layers.setdefault(name.rpartition("/")[0], []).append(entries)
    return layers


def _program(name: str, *arguments: str) -> str:
    result = subprocess.run([BINARIES.benchmark(name), *arguments], check=False,
                            capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"{name}: {result.stderr.strip()}")
    return result.stdout


def _gradient(threads: int, data: pathlib.Path) -> Any:
    """Returns when the layers' weights are needed and their gradients are made."""
    return json.loads(_program("gradient_marks", f"--threads={threads}", f"--data={data}"))


def _updates() -> dict[str, float]:
    """Returns times by benchmark. With two threads, as on a busy server: memory is not twice as fast
    for them as for one."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "benchmark.json"
        _program("benchmarks", f"--benchmark_out={path}", "--benchmark_min_time=1",
                 "--benchmark_filter=(ShardUpdate|UpdatePhase).*threads:2")
        entries = json.loads(path.read_text())["benchmarks"]
    return {re.sub(r"^BM_|/threads.*", "", entry["name"]): entry["median"] for entry in entries}


def _work(work: str, count: int, job: str, workers: int) -> dict[str, float]:
    """Returns the wall, client's and server's processor time of a work done by null workers, once."""
    with Cluster(job) as servers:
        if work != "train":
            servers.do("pull", 3)  # connections and memory
        before = servers.cpu_seconds()
        results = servers.do(work, count, workers)
        server = servers.cpu_seconds() - before
    times = sum(result["count"] for result in results)
    return {"wall": 1e3 * statistics.mean(r["seconds"] / r["count"] for r in results),
            "client": 1e3 * sum(result["cpu_seconds"] for result in results) / times,
            "server": 1e3 * server / times}


def _calls() -> dict[str, dict[str, float]]:
    """Returns calls by name: processor times on a busy machine, wall times on an idle one."""
    works = {
        "lease": ("lease", 5000, tiny_job_text(BUSY)),
        "pull of nothing": ("pull", 3000, tiny_job_text()),
        "push of nothing": ("push", 500, tiny_job_text(1024)),
        "pull of the model": ("pull", 200, job_text()),
        "push into fresh memory": ("push", FRESH_SLOTS, job_text(BUSY * FRESH_SLOTS + 1)),
    }
    calls = {name: _work(*arguments, BUSY) for name, arguments in works.items()}
    for name, arguments in works.items():
        calls[name]["wall"] = _work(*arguments, 1)["wall"]
    calls["gradient"] = _work("train", 0, job_text(BUSY, 100), BUSY)  # of a step, a slot each
    calls["gradient"]["wall"] = _work("train", 0, job_text(1, 200), 1)["wall"]
    calls["gradient of nothing"] = _work("train", 0, tiny_job_text(BUSY, 2000), BUSY)
    return calls


def _step(workers: int, shards: int, slots: int, threads: int, data: pathlib.Path) -> float:
    """Returns the milliseconds of a step of a real training, after a warm-up."""
    steps = max(10, (REAL_LEASES if threads else NULL_LEASES) // slots)
    warm_up = steps // 5
    with Cluster(job_text(slots, steps + warm_up), shards) as servers:
        started = [servers.start_worker(threads, data) if threads else servers.start_null_worker()
                   for _ in range(workers)]
        return 1e3 * servers.seconds_per_step(started, warm_up)


def _round(data: pathlib.Path) -> dict[str, Any]:
    return {
        "gradient": {str(threads): _gradient(threads, data) for threads in (1, 2)},
        "updates": _updates(),
        "calls": _calls(),
        "steps": {",".join(map(str, step)): _step(*step, data) for step in STEPS},
    }


def _median(rounds: list[Any]) -> Any:
    """Returns the medians of equal nested dictionaries of numbers."""
    if not isinstance(rounds[0], dict):
        return statistics.median(rounds)
    return {key: _median([each[key] for each in rounds]) for key in rounds[0]}


def _constants(medians: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the model's constants that are not measured directly."""
    updates, calls = medians["updates"], medians["calls"]

    def busy(name: str) -> float:
        time: float = updates[name]
        return 2 * time

    add = (busy("ShardUpdate/slots:16") - busy("ShardUpdate/slots:4")) / 12
    mean = busy("ShardUpdate/slots:4") - busy("ShardUpdate/slots:1") - 4 * add
    phase1, phase2 = busy("UpdatePhase1"), busy("UpdatePhase2")
    lease, pull, gradient = calls["lease"], calls["pull of the model"], calls["gradient"]
    nothing = calls["gradient of nothing"]["server"] - sum(
        calls[name]["server"] for name in ("lease", "pull of nothing", "push of nothing"))
    update = mean + BUSY * add + phase1 + phase2  # of a step of as many slots
    push = {
        "wall": gradient["wall"] - lease["wall"] - pull["wall"] - (phase1 + phase2) / 2,
        "client": calls["push into fresh memory"]["client"],
        "server": gradient["server"] - lease["server"] - pull["server"] - update / BUSY,
    }
    idle = calls["pull of nothing"]
    return {
        "calls": {**{name: calls[name] for name in (
            "lease", "pull of nothing", "push of nothing", "pull of the model",
            "push into fresh memory")}, "push of the model": push},
        "update": {"of nothing": max(0.0, nothing * BUSY), "norms (phase 1)": phase1,
                   "weights (phase 2)": phase2, "mean of several slots": max(0.0, mean),
                   "each of several slots": add},
        "loopback hop": max(0.0, idle["wall"] - max(idle["client"], idle["server"])) / 2,
    }


def measure(rounds: int, data: pathlib.Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measures: two and a half minutes a round, on an idle machine. Calls `say` before each round."""
    done = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        done.append(_round(data))
    medians = _median(done)
    steps = []
    for step in STEPS:
        times = [each["steps"][",".join(map(str, step))] for each in done]
        steps.append(dict(zip(("workers", "shards", "slots", "threads"), step))
                     | {"least": min(times), "median": statistics.median(times),
                        "most": max(times)})
    return {
        "measured": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "command": f"tests/benchmark/scaling/run measure --rounds={rounds}",
        "layers": _layers(),
        "gradient": medians["gradient"],
        **_constants(medians),
        "steps": steps,
    }


def save(measurements: Mapping[str, Any]) -> None:
    """Writes measurements.json, rounded to significant digits."""
    rounded = json.loads(json.dumps(measurements),
                         parse_float=lambda text: float(f"{float(text):.4g}"))
    text = json.dumps(rounded, indent=1)
    # Innermost objects and lists on one line each.
    text = re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda m: re.sub(r"\s+", " ", m.group()), text)
    MEASUREMENTS.write_text(text + "\n")
