# SPDX-License-Identifier: Apache-2.0
"""The numbers of a training's last step, as each tool shows them, and whether they are the same.

A tool is a function that returns its numbers by name, as in "loss" or "multiplier/fc1/weights", and
how many significant digits it shows. A further one is a line in TOOLS.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.harness.errors import Violation
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.training import Training, fetch

Numbers = dict[str, float]
TABLE_DIGITS = 4  # of a table, and of the page's charts
FLOAT_DIGITS = 6  # of a float
DOUBLE_DIGITS = 15
# The fields of a tensor's statistics that tools show: the names in CSV, and in Prometheus.
FIELDS = {"relative_delta": "relative_change_ratio", "sgd_relative_delta": "sgd_relative_change_ratio",
          "multiplier": "multiplier", "rate": "learning_rate"}


class Sources(NamedTuple):
    """Where tools get their numbers, once the training is finished."""
    training: Training
    prometheus: Prometheus
    board: Mapping[str, list[tuple[int, Any]]]  # the scalars that TensorBoard reads, by tag
    step: int  # the last one


def table(sources: Sources) -> tuple[Numbers, int]:
    """The table of `pdctl stats --watch`."""
    numbers: Numbers = {}
    for line in sources.training.pdctl("stats", "--watch", "--last=3").splitlines():
        words = line.split()
        if words[0] != str(sources.step):
            continue
        tensor, relative, percent, sgd, also_percent, multiplier = words[1:7]
        assert percent == also_percent == "%", line
        numbers[f"relative_delta/{tensor}"] = float(relative) / 100
        numbers[f"sgd_relative_delta/{tensor}"] = float(sgd) / 100
        numbers[f"multiplier/{tensor}"] = float(multiplier)
    return numbers, TABLE_DIGITS


def csv_files(sources: Sources) -> tuple[Numbers, int]:
    """The CSV of pdctl."""
    numbers: Numbers = {}
    statistics = sources.training.pdctl("stats", "--last=3", "--format=csv")
    for row in csv.DictReader(io.StringIO(statistics)):
        if row["step"] == str(sources.step):
            for field in FIELDS:
                numbers[f"{field}/{row['tensor']}"] = float(row[field])
    for row in csv.DictReader(io.StringIO(sources.training.pdctl("progress", "--format=csv"))):
        if row["step"] == str(sources.step):
            numbers.update(loss=float(row["loss"]), accuracy=float(row["accuracy"]))
        if row["step"] == str(sources.step + 1):  # the test set is evaluated after the last step
            numbers.update(test_loss=float(row["test_loss"]),
                           test_accuracy=float(row["test_accuracy"]))
    return numbers, DOUBLE_DIGITS


def prometheus(sources: Sources) -> tuple[Numbers, int]:
    """What Prometheus has scraped last."""
    def ask(name: str) -> dict[str, float]:
        return sources.prometheus.query(f"percentdelta_{name}")

    if ask("statistics_step") != {"": sources.step} or ask("point_step")["set=training"] != sources.step:
        raise Violation(f"Prometheus: expected the numbers of step {sources.step}, got those of "
                        f"{ask('statistics_step')} and {ask('point_step')}")
    numbers = {f"{field}/{labels.rpartition('tensor=')[2]}": value
               for field, name in FIELDS.items() for labels, value in ask(name).items()}
    loss, accuracy = ask("loss"), ask("accuracy")
    numbers.update(loss=loss["set=training"], accuracy=accuracy["set=training"],
                   test_loss=loss["set=test"], test_accuracy=accuracy["set=test"])
    return numbers, DOUBLE_DIGITS


def tensorboard(sources: Sources) -> tuple[Numbers, int]:
    """What TensorBoard reads."""
    at = {tag: dict(points) for tag, points in sources.board.items()}
    last = sources.step
    numbers = {"loss": at["loss/training"][last], "accuracy": at["accuracy/training"][last],
               "test_loss": at["loss/test"][last + 1], "test_accuracy": at["accuracy/test"][last + 1]}
    for tag, points in at.items():
        kind, _, tensor = tag.partition("/")
        field = {"relative_change": "relative_delta", "sgd_relative_change": "sgd_relative_delta",
                 "multiplier": "multiplier"}.get(kind)
        if field:
            numbers[f"{field}/{tensor}"] = points[last]
    return numbers, FLOAT_DIGITS


def page_charts(sources: Sources) -> tuple[Numbers, int]:
    """The last points of the live page's charts, in the state that it loads."""
    state = json.loads(fetch(sources.training.page, "/api/state"))
    tables = state["charts"]

    def cells(name: str, step: int) -> list[float]:
        first, last, *values = tables[name]["rows"][-1]
        if not first == last == step:
            raise Violation(f"the live page: expected a point of {name} at step {step}, got one of the "
                            f"steps {first} to {last}")
        return [float(value) for value in values]

    numbers: Numbers = {}
    numbers["loss"], numbers["accuracy"] = cells("training", sources.step)[:2]
    numbers["test_loss"], numbers["test_accuracy"] = cells("evaluations", sources.step + 1)[:2]
    updates = cells("updates", sources.step)
    for tensor in state["job"]["tensors"]:
        if tensor["line"] >= 0:
            for i, field in enumerate(("relative_delta", "sgd_relative_delta", "multiplier")):
                numbers[f"{field}/{tensor['name']}"] = updates[3 * tensor["line"] + i]
    return numbers, TABLE_DIGITS


def page_step(sources: Sources) -> tuple[Numbers, int]:
    """The live page's numbers of a step that is picked, as in Figure 1 of the paper."""
    def ask(step: int) -> Any:
        return json.loads(fetch(sources.training.page, f"/api/step?step={step}"))

    last, after = ask(sources.step), ask(sources.step + 1)
    numbers = {f"{field}/{update['tensor']}": update[field]
               for update in last["updates"] for field in FIELDS}
    for prefix, point in (("", last["training"]), ("test_", after["evaluation"])):
        numbers.update({f"{prefix}{name}": point[name] for name in ("loss", "accuracy")})
    return numbers, DOUBLE_DIGITS


TOOLS: dict[str, Callable[[Sources], tuple[Numbers, int]]] = {
    "pdctl's CSV": csv_files,
    "pdctl stats --watch": table,
    "Prometheus": prometheus,
    "TensorBoard": tensorboard,
    "the live page's charts": page_charts,
    "the live page's step": page_step,
}


def check(sources: Sources) -> int:
    """Returns how many numbers were compared. Throws Violation where two tools differ."""
    expected, _ = csv_files(sources)
    compared = 0
    for tool, ask in TOOLS.items():
        numbers, digits = ask(sources)
        if not numbers or not numbers.keys() <= expected.keys():
            raise Violation(f"{tool}: expected some of {sorted(expected)}, got {sorted(numbers)}")
        for name, value in numbers.items():
            tolerance = 0.6 * 10.0 ** (1 - digits)
            if not math.isclose(value, expected[name], rel_tol=tolerance, abs_tol=1e-30):
                raise Violation(f"{tool}: {name} of step {sources.step}: expected {expected[name]}, "
                                f"as in pdctl's CSV, got {value}")
            compared += 1
    return compared
