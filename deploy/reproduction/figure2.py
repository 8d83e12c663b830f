# SPDX-License-Identifier: Apache-2.0
"""Figure 2: test accuracy over steps, one row for each algorithm, and the best of each in the last."""

import csv
import pathlib
from collections.abc import Sequence

from deploy.reproduction import curves, plots, settings
from deploy.reproduction.curves import Curve
from deploy.reproduction.runs import Run, Runs
from deploy.reproduction.settings import Setting

COLUMNS = ("algorithm", "setting", "best", "seeds", "step", "accuracy", "lowest", "highest",
           "smoothed", "loss")
# Index of the curve, title, colour, dash, width.
Line = tuple[int, str, str, int, float]

EARLY = 200  # steps of the left column
_WIDTH, _ROW_HEIGHT, _ABOVE, _BELOW, _BETWEEN = 1260, 250, 94, 70, 70  # pixels


def write_csv(path: pathlib.Path, every_curve: Sequence[Curve], winners: Sequence[Curve]) -> None:
    """Writes a row for each setting and step: what the figure shows, and the spread of the seeds."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for c in every_curve:
            smoothed = c.smoothed()
            for i, step in enumerate(c.steps):
                numbers = (c.mean[i], c.lowest[i], c.highest[i], smoothed[i], c.loss[i])
                writer.writerow([c.setting.algorithm, c.setting.label, int(c in winners), c.seeds,
                                 step, *(f"{value:.6g}" for value in numbers)])


def _block(index: int, c: Curve) -> str:
    """Returns a curve's data for gnuplot."""
    rows = [f"{step} {mean:.6g} {smooth:.6g}"
            for step, mean, smooth in zip(c.steps, c.mean, c.smoothed())]
    return "\n".join([f"$curve{index} << EOD", *rows, "EOD"])


def _panel(lines: Sequence[Line], column: int, first: bool, last: int, floor: float, top: float,
           legend: bool) -> str:
    """Returns gnuplot's commands for one plot. The last of `lines` is drawn on top."""
    text = [f"set xrange [0:{EARLY if first else last}]", f"set yrange [{floor}:{top}]",
            "set key bottom right Right samplen 2 spacing 1 font ',9'" if legend else "unset key"]
    plotted = [f"$curve{index} using 1:{column} with lines linecolor rgb '{colour}' dashtype {dash} "
               f"linewidth {width} title {plots.quoted(title)}"
               for index, title, colour, dash, width in lines]
    return "\n".join([*text, "plot " + ", \\\n  ".join(plotted)])


def draw(target: pathlib.Path, title: str, every_curve: Sequence[Curve], winners: Sequence[Curve],
         early_floor: float) -> None:
    """Draws the figure as target.svg and target.png. The left column's y-axis begins at
    `early_floor`."""
    algorithms = [a for a in settings.ALGORITHMS if any(c.setting.algorithm == a for c in winners)]
    last = max(c.steps[-1] for c in every_curve)
    late_floor = 0.9 if early_floor and last > 2 * EARLY else early_floor
    highest = max(max(c.mean) for c in every_curve)
    top = 1.0 if highest > 0.9 else min(1.0, highest + 0.05)
    rows: list[tuple[str, list[Line]]] = []
    for algorithm in algorithms:
        mine = [c for c in every_curve if c.setting.algorithm == algorithm]
        mine.sort(key=lambda c: c in winners)
        rows.append((algorithm, [
            (every_curve.index(c), c.setting.label,
             *((plots.RED, 1, 2.2) if c in winners else
               (plots.COLOURS[i % len(plots.COLOURS)], i % 4 + 2, 1.5)))
            for i, c in enumerate(mine)]))
    champion = max(winners, key=lambda c: c.score())
    order = sorted(winners, key=lambda c: c is champion)
    rows.append(("best of each", [
        (every_curve.index(c), c.setting.algorithm,
         *((plots.RED, 1, 2.2) if c is champion else
           (plots.COLOURS[algorithms.index(c.setting.algorithm)], i + 2, 1.7)))
        for i, c in enumerate(order)]))
    height = 60 + _ROW_HEIGHT * len(rows)
    script = [_block(i, c) for i, c in enumerate(every_curve)]
    script.append(f"set multiplot layout {len(rows)},3 columnsfirst downwards "
                  f"title {plots.quoted(title)} font ',14' "
                  f"margins 0.075,0.98,{_BELOW / height:.4f},{1 - _ABOVE / height:.4f} "
                  f"spacing 0.055,{_BETWEEN / height:.4f}\nset format y '%.2f'")
    for column, (heading, first, values, floor) in enumerate((
            (f"first {EARLY} steps", True, 2, early_floor), ("raw", False, 2, late_floor),
            ("smoothed", False, 3, late_floor))):
        for i, (name, lines) in enumerate(rows):
            label = plots.quoted(name) if column == 0 else "''"
            script += [f"set title {plots.quoted(heading) if i == 0 else chr(39) * 2} font ',12'",
                       f"set ylabel {label} font ',12'",
                       "set xlabel 'step' offset 0,0.6" if i == len(rows) - 1 else "unset xlabel",
                       _panel(lines, values, first, last, floor, top, legend=column == 0)]
    script.append("unset multiplot")
    plots.draw("\n".join(script), target, _WIDTH, height)


def plan(runs: Runs, budget: settings.Budget, data_set_settings: Sequence[Setting]) -> list[Run]:
    """Returns the first part of the trainings: every setting with seed 1."""
    return [runs.run(setting, 1, budget.steps, budget.every) for setting in data_set_settings]


def more_seeds(runs: Runs, budget: settings.Budget, chosen: Sequence[Curve]) -> list[Run]:
    """Returns the second part: other seeds of the settings of these curves."""
    return [runs.run(c.setting, seed, budget.steps, budget.every)
            for c in chosen for seed in range(2, budget.seeds + 1)]


def gather(every_run: Sequence[Run]) -> tuple[list[Curve], list[Curve], list[tuple[Setting, str]]]:
    """Returns the curves of the trained settings, the best of them, and for each other setting why it
    has no curve."""
    by_setting: dict[Setting, list[Run]] = {}
    for run in every_run:
        by_setting.setdefault(run.setting, []).append(run)
    found: list[Curve] = []
    missing: list[tuple[Setting, str]] = []
    for setting, runs in by_setting.items():
        c = curves.curve(setting, runs)
        if c is not None:
            found.append(c)
            continue
        failed = [run for run in runs if run.failure()]
        missing.append((setting, f"diverged with seed {failed[0].seed}" if failed else "not run"))
    # On equal terms: the best is chosen by the first seed, which all have.
    first = curves.best([curves.curve(s, [r for r in runs if r.seed == 1])
                         for s, runs in by_setting.items()])
    chosen = {c.setting for c in first}
    return found, [c for c in found if c.setting in chosen], missing
