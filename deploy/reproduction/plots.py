# SPDX-License-Identifier: Apache-2.0
"""Draws figures with gnuplot, the same script as SVG and as PNG."""

import pathlib
import subprocess
import tempfile

from deploy.project import Failure

FONT = "DejaVu Sans"
RED = "#C00000"  # the best of a row, which is also drawn thicker than the others

# Okabe and Ito's colours without their red, which colour-blind readers can tell apart. Lines also differ
# in their dashes.
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F")

_COMMON = """
set border 3 linewidth 0.7 linecolor rgb "#404040"
set tics nomirror
set grid ytics linecolor rgb "#d8d8d8" linewidth 0.6 dashtype 1
"""


def quoted(text: str) -> str:
    """Returns the text as a string literal of gnuplot."""
    return "'" + text.replace("'", "''") + "'"


def draw(script: str, target: pathlib.Path, width: int, height: int) -> None:
    """Runs a script, which writes target.svg and target.png."""
    for ending, terminal in (
            ("svg", f"svg size {width},{height} font '{FONT},12' background rgb 'white' dashlength 0.7"),
            ("png", f"pngcairo size {width},{height} font '{FONT},11' dashlength 0.7")):
        text = f"set terminal {terminal}\nset output {quoted(f'{target}.{ending}')}\n{_COMMON}{script}"
        with tempfile.NamedTemporaryFile("w", suffix=".gnuplot", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            result = subprocess.run(["gnuplot", file.name], check=False, capture_output=True,
                                    text=True)
        if result.returncode != 0:
            raise Failure(f"gnuplot: {result.stderr.strip()}")
