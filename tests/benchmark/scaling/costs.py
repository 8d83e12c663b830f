# SPDX-License-Identifier: Apache-2.0
"""The model's costs, as last measured (measure.py)."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tests.benchmark.scaling.model import BYTES_PER_ENTRY, Call, Costs

MEASUREMENTS = pathlib.Path(__file__).with_name("measurements.json")
MS = 1e-3


def read() -> dict[str, Any]:
    """Returns what measure.py wrote."""
    measurements: dict[str, Any] = json.loads(MEASUREMENTS.read_text())
    return measurements


def costs_of(measurements: Mapping[str, Any], threads: int) -> Costs:
    """Returns the costs with this number of threads in each worker; 0 is a null worker, whose gradient
    costs nothing."""
    gradient = measurements["gradient"][str(threads or 1)]
    calls, update = measurements["calls"], measurements["update"]
    layers = measurements["layers"]
    entries = int(sum(map(sum, layers.values())))

    def call(name: str) -> Call:
        return Call(MS * calls[name]["client"], MS * calls[name]["server"])

    def each_byte(name: str, side: str) -> float:
        nothing: float = calls[name[:4] + " of nothing"][side]
        whole: float = calls[name][side]
        return MS * (whole - nothing) / (entries * BYTES_PER_ENTRY)

    marks = [(kind, layer, MS * time) for kind in ("needs", "makes")
             for layer, time in gradient[kind].items()]
    costs = Costs(
        layers=layers,
        gather=MS * gradient["gather"],
        marks=tuple(sorted(marks, key=lambda mark: mark[2])),
        threads=threads or 1,
        lease=call("lease"),
        pull=call("pull of nothing"),
        push=call("push of nothing"),
        pull_send=each_byte("pull of the model", "server"),
        pull_receive=each_byte("pull of the model", "client"),
        pull_pace=each_byte("pull of the model", "wall"),
        push_send=each_byte("push of the model", "client"),
        push_receive=each_byte("push of the model", "server"),
        push_receive_fresh=each_byte("push into fresh memory", "server"),
        push_pace=each_byte("push of the model", "wall"),
        update_task=MS * update["of nothing"],
        phase1=MS * update["norms (phase 1)"] / entries,
        phase2=MS * update["weights (phase 2)"] / entries,
        mean=MS * update["mean of several slots"] / entries,
        add=MS * update["each of several slots"] / entries,
        hop=MS * measurements["loopback hop"])
    return costs if threads else costs.without_gradient()
