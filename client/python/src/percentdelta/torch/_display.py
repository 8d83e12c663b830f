# SPDX-License-Identifier: Apache-2.0
"""Shows how far the training is: a bar where someone looks, lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Optional

_LINE_SECONDS = 10.0


def _make_bar(total: int) -> Any:
    """tqdm's, in a terminal or a notebook where it is installed; else None."""
    in_notebook = "ipykernel" in sys.modules
    if not in_notebook and not (hasattr(sys.stderr, "isatty") and sys.stderr.isatty()):
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit="step", dynamic_ncols=True)


class Display:
    """`shown` None: as said above; True: lines if there can be no bar; False: nothing. Of one
    worker: `loss` and `accuracy` are of its own batches and its part of the evaluations."""

    def __init__(self, shown: Optional[bool], total: int) -> None:
        self._total = total
        self._bar = _make_bar(total) if shown is not False else None
        self._lines = shown is not False and self._bar is None
        self._last_line = time.monotonic()
        self._examples = 0  # since the last line
        self._evaluation = (-1, 0, 0.0, 0)  # step, examples, sum of losses, right ones
        self._tested = ""

    def trained(self, step: int, examples: int, loss: float, correct: Optional[int]) -> None:
        """A gradient of `step` is done; `loss` is the batch's mean."""
        self._examples += examples
        text = f"loss {loss:.4g}"
        if correct is not None:
            text += f", accuracy {correct / examples:.3f}"
        text += self._tested
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step + 1 - self._bar.n)
            return
        seconds = time.monotonic() - self._last_line
        if self._lines and seconds >= _LINE_SECONDS:
            self._print(f"step {step + 1} of {self._total}, {text}, "
                        f"{self._examples / seconds:.0f} examples/s")

    def evaluated(self, step: int, examples: int, loss_sum: float, correct: Optional[int]) -> None:
        """A part of an evaluation is done."""
        if self._evaluation[0] != step:
            self._evaluation = (step, 0, 0.0, 0)
        _, count, losses, right = self._evaluation
        count, losses, right = count + examples, losses + loss_sum, right + (correct or 0)
        self._evaluation = (step, count, losses, right)
        self._tested = f", test loss {losses / count:.4g}"
        if correct is not None:
            self._tested += f", test accuracy {right / count:.4f}"

    def close(self, message: str) -> None:
        """Ends it, with a last line."""
        if self._bar is not None:
            self._bar.close()
        elif self._lines:
            self._print(f"{message}{self._tested}")
        self._bar, self._lines = None, False

    def _print(self, text: str) -> None:
        print(f"percentdelta: {text}", file=sys.stderr, flush=True)
        self._last_line = time.monotonic()
        self._examples = 0
