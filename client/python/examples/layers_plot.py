#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what transformer_bible.py measured: layers_plot.py RESULTS.json FILE.png

Needs matplotlib (Debian: python3-matplotlib).
"""

import json
import math
import statistics
import sys
from typing import Any, Dict, List, Sequence, Tuple

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  after the choice of the backend

# Kinds of layers, by what their names contain, in the order of the legend. Okabe and Ito's colours,
# which the colour-blind can tell apart.
KINDS = (("embeddings", ("characters", "positions"), "#0072B2"),
         ("attention", (".attention.",), "#D55E00"),
         ("feed-forward", (".up", ".down"), "#009E73"),
         ("norms", ("norm",), "#8A8A8A"),
         ("output", ("out",), "#CC79A7"))
RULE_COLOURS = {"SGD": "#D55E00", "PercentDelta": "#0072B2", "Adam": "#009E73"}
WINDOW = 15  # steps that a point of a curve averages


def kind_of(layer: str) -> Tuple[str, str]:
    """Name and colour."""
    return next((name, colour) for name, parts, colour in KINDS
                if any(part in layer for part in parts))


def smooth(values: Sequence[float], mean: Any) -> Tuple[List[float], List[float]]:
    """Middles and means of windows."""
    window = max(1, min(WINDOW, len(values) // 20))
    begins = range(0, len(values) - window + 1, window)
    return ([begin + (window - 1) / 2 for begin in begins],
            [mean(values[begin:begin + window]) for begin in begins])


def spread(layers: Dict[str, List[float]]) -> float:
    """The median change of the fastest layer, as a multiple of that of the slowest."""
    medians = [statistics.median(values) for values in layers.values()]
    return max(medians) / max(min(medians), 1e-30)


def times(factor: float) -> str:
    return f"{factor:.1f} ×" if factor < 10 else f"{factor:.0f} ×"


def percent(value: float, _: Any) -> str:
    return f"{100 * value:g} %"


def draw(results: Dict[str, Any], path: str) -> None:
    """`results` is what train() of transformer_bible.py returned for each rule."""
    pyplot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
                            "axes.titlesize": 10, "font.family": "DejaVu Sans"})
    figure, axes = pyplot.subplots(
        1, len(results) + 1, figsize=(2.9 * len(results) + 3.1, 3.7), constrained_layout=True)
    for axis, (rule, result) in zip(axes, results.items()):
        drawn = set()
        for layer, values in result["layers"].items():
            kind, colour = kind_of(layer)
            steps, means = smooth([max(value, 1e-12) for value in values],
                                  statistics.geometric_mean)
            axis.plot(steps, means, color=colour, linewidth=0.9, alpha=0.85,
                      label=None if kind in drawn else kind)
            drawn.add(kind)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(percent)
        axis.grid(axis="y", color="#E4E4E4", linewidth=0.6)
        axis.set_title(f"{rule}, rate {result['rate']:g}\n"
                       f"fastest layer = {times(spread(result['layers']))} slowest", loc="left")
        axis.set_xlabel("step")
    limits = [axis.get_ylim() for axis in axes[:-1]]
    for axis in axes[:-1]:
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        axis.tick_params(labelleft=axis is axes[0])
    axes[0].set_ylabel("change of a layer in a step,  ‖ΔW‖₁ / ‖W‖₁")
    # Where the curves leave most room below.
    names = list(results)
    _add_legend(axes[names.index("PercentDelta") if "PercentDelta" in names else 0])
    _draw_losses(axes[-1], results)
    figure.savefig(path, dpi=150)


def _add_legend(axis: Any) -> None:
    lines = dict(zip(*reversed(axis.get_legend_handles_labels())))
    kinds = [name for name, _, _ in KINDS if name in lines]
    legend = axis.legend([lines[kind] for kind in kinds], kinds, loc="lower left", frameon=False)
    for line in legend.get_lines():
        line.set_linewidth(2.5)


def _draw_losses(axis: Any, results: Dict[str, Any]) -> None:
    for rule, result in results.items():
        colour = RULE_COLOURS.get(rule)
        axis.plot(*smooth([loss for _, loss in result["loss"]], statistics.fmean), color=colour,
                  linewidth=1.4)
        axis.plot(*zip(*result["test_loss"]), "o", color=colour, markersize=3.5)
    low, high = axis.get_ylim()
    room = (high - low) / 16  # a line of text
    top = math.inf
    for rule, (step, loss) in sorted(((rule, result["test_loss"][-1]) for rule, result in
                                      results.items()), key=lambda each: -each[1][1]):
        top = min(loss, top - room)
        axis.annotate(f"{rule} {loss:.2f}", (step, top), xytext=(6, 0), va="center",
                      textcoords="offset points", color=RULE_COLOURS.get(rule))
    axis.set_title("loss per character\nline: training, dots: test", loc="left")
    axis.set_xlabel("step")
    axis.grid(axis="y", color="#E4E4E4", linewidth=0.6)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        draw(json.load(file), sys.argv[2])
