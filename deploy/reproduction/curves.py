# SPDX-License-Identifier: Apache-2.0
"""Curves of test accuracy: the best setting, several seeds together, smoothing."""

import typing
from collections.abc import Sequence

from deploy.reproduction import settings
from deploy.reproduction.runs import Run

TABLE_STEPS = (20, 40, 100, 200, 500, 1000, 2000, 5000)


class Curve(typing.NamedTuple):
    """A setting's accuracy over steps: the mean over its seeds."""
    setting: settings.Setting
    seeds: int
    steps: list[int]
    mean: list[float]
    lowest: list[float]
    highest: list[float]
    loss: list[float]  # the mean

    def at(self, step: int) -> tuple[float, float, float]:
        """Returns (mean, lowest, highest) at a step."""
        i = self.steps.index(step)
        return self.mean[i], self.lowest[i], self.highest[i]

    def score(self) -> float:
        """Returns the mean of the curve without its first point: it rewards a fast rise and a high
        end. The best setting is chosen by it."""
        return sum(self.mean[1:]) / max(1, len(self.mean) - 1)

    def smoothed(self) -> list[float]:
        """Returns each point's mean with its neighbours: a fortieth of the curve, at least five points
        (three of short curves), fewer at the ends."""
        half = max(3, min(5, len(self.mean) // 4), len(self.mean) // 40) // 2
        means = []
        for i in range(len(self.mean)):
            reach = min(half, i, len(self.mean) - 1 - i)
            window = self.mean[i - reach:i + reach + 1]
            means.append(sum(window) / len(window))
        return means


def curve(setting: settings.Setting, runs: Sequence[Run]) -> Curve | None:
    """Returns the curve of a setting's finished trainings; None if none is finished, or one diverged."""
    done = [run for run in runs if run.done()]
    if not done or any(run.failure() for run in done):
        return None
    columns = list(zip(*(run.points() for run in done)))
    accuracies = [[point.accuracy for point in column] for column in columns]
    return Curve(setting, len(done), [column[0].step for column in columns],
                 [sum(values) / len(values) for values in accuracies],
                 [min(values) for values in accuracies], [max(values) for values in accuracies],
                 [sum(point.loss for point in column) / len(column) for column in columns])


def of_runs(runs: Sequence[Run]) -> list[Curve]:
    """Returns the curves of trainings, one each, without those that diverged."""
    found = (curve(run.setting, [run]) for run in runs)
    return [c for c in found if c is not None]


def top(curves: Sequence[Curve], count: int) -> list[Curve]:
    """Returns the curves of the highest scores."""
    return sorted(curves, key=lambda c: -c.score())[:count]


def best(curves: Sequence[Curve | None]) -> list[Curve]:
    """Returns the curve of the highest score of each algorithm, in the order of settings.ALGORITHMS."""
    winners = []
    for algorithm in settings.ALGORITHMS:
        mine = [c for c in curves if c is not None and c.setting.algorithm == algorithm]
        if mine:
            winners.append(max(mine, key=lambda c: c.score()))
    return winners


def table(curves: Sequence[Curve], last_step: int) -> list[str]:
    """Returns lines of text: accuracy at the steps, with the lowest and highest of several seeds."""
    steps = [s for s in TABLE_STEPS if s <= last_step]
    if last_step not in steps:
        steps.append(last_step)
    rows = [["algorithm", "setting", "seeds", *(f"step {s}" for s in steps)]]
    for c in curves:
        cells = []
        for step in steps:
            if step not in c.steps:
                cells.append("-")
                continue
            mean, low, high = c.at(step)
            cells.append(f"{mean:.4f}" + (f" ({low:.3f}-{high:.3f})" if c.seeds > 1 else ""))
        rows.append([c.setting.algorithm, c.setting.label, str(c.seeds), *cells])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns rows of cells as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in rows]
