# SPDX-License-Identifier: Apache-2.0
"""Figure 1: how much of its own L1 norm each layer changes by, with PercentDelta and with SGD."""

import csv
import pathlib
from collections.abc import Mapping, Sequence

from deploy.reproduction import curves, plots
from deploy.reproduction.runs import Run, Runs
from deploy.reproduction.settings import Setting

STEPS = (0, 15, 30, 45)
LAYERS = ("conv1", "conv2", "fc1", "fc2")
_COLOURS = ("#0072B2", "#E69F00")


def plan(runs: Runs, pair: Sequence[Setting], seeds: int) -> list[list[Run]]:
    """Returns the trainings needed: both settings with each seed, to the step after the last shown."""
    return [[runs.run(setting, seed, STEPS[-1] + 1, STEPS[-1] + 1) for setting in pair]
            for seed in range(1, seeds + 1)]


def changes(run: Run) -> dict[int, dict[str, float]]:
    """Returns {step: {layer: ||delta||_1 / ||W||_1 of its weights}}."""
    found: dict[int, dict[str, float]] = {step: {} for step in STEPS}
    for change in run.changes():
        layer, _, name = change.tensor.rpartition("/")
        if name == "weights" and change.step in found:
            found[change.step][layer] = change.relative
    return found


def ratio(by_layer: Mapping[str, float]) -> float:
    """Returns the largest change divided by the smallest."""
    return max(by_layer.values()) / min(by_layer.values())


def table(pairs: Sequence[Sequence[Run]]) -> list[str]:
    """Returns lines of text: the ratios of every seed, then the layers' changes of the first seed."""
    head = ["largest / smallest", "seed", *(f"step {step}" for step in STEPS)]
    rows = [head]
    for pair in pairs:
        rows += [[run.setting.algorithm, str(run.seed),
                  *(f"{ratio(changes(run)[step]):.2f}" for step in STEPS)] for run in pair]
    lines = curves.aligned(rows) + [""]
    rows = [["seed 1: change in %", *(f"{layer} @{step}" for step in STEPS for layer in LAYERS)]]
    for run in pairs[0]:
        change = changes(run)
        rows.append([run.setting.algorithm, *(f"{100 * change[step][layer]:.3g}"
                                              for step in STEPS for layer in LAYERS)])
    return lines + curves.aligned(rows)


def write_csv(path: pathlib.Path, pairs: Sequence[Sequence[Run]]) -> None:
    """Writes a row for each training, step and layer."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("algorithm", "setting", "seed", "step", "layer", "relative_delta"))
        for run in (run for pair in pairs for run in pair):
            for step, layers in changes(run).items():
                for layer in LAYERS:
                    writer.writerow([run.setting.algorithm, run.setting.label, run.seed, step, layer,
                                     f"{layers[layer]:.6g}"])


def draw(target: pathlib.Path, pair: Sequence[Run]) -> None:
    """Draws the figure of one seed as target.svg and target.png."""
    change = [changes(run) for run in pair]
    script = []
    for step in STEPS:
        rows = [f"{layer} {' '.join(f'{c[step][layer]:.6g}' for c in change)}" for layer in LAYERS]
        script.append("\n".join([f"$step{step} << EOD", *rows, "EOD"]))
    values = [v for c in change for layers in c.values() for v in layers.values()]
    script += [
        "set multiplot layout 1,4 margins 0.075,0.99,0.14,0.80 spacing 0.02,0",
        "set style data histograms", "set style histogram clustered gap 1",
        "set style fill solid 1 border -1", "set boxwidth 0.9", "set logscale y",
        f"set yrange [{min(values) / 3:.3g}:{max(values) * 2:.3g}]", "set format y '10^{%L}'",
        "set xtics scale 0", "unset key",
        "set label 1 '||{/Symbol D}W||_1 / ||W||_1' at screen 0.014,0.47 rotate by 90 center"]
    # The key; gnuplot's own would have to fit into a panel.
    for n, run in enumerate(pair):
        text = plots.quoted(f"\u25a0 {run.setting.algorithm}, {run.setting.label}")
        script.append(f"set label {n + 2} {text} at screen {0.08 + 0.4 * n},0.95 font ',12' "
                      f"textcolor rgb '{_COLOURS[n]}'")
    for i, step in enumerate(STEPS):
        if i == 1:
            script += ["set format y ''", "unset label"]
        plotted = [f"$step{step} using {n + 2}:xtic(1) linecolor rgb '{_COLOURS[n]}'"
                   for n in range(len(pair))]
        script.append(f"set title 'Step {step}' offset 0,-0.5\nplot " + ", ".join(plotted))
    script.append("unset multiplot")
    plots.draw("\n".join(script), target, 1200, 400)
