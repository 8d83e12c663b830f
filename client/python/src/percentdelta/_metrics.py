# SPDX-License-Identifier: Apache-2.0
"""What a worker's own metrics may be: the checks of common/cluster/metrics.cc, with their
messages."""

from __future__ import annotations

import math
from typing import Any, Mapping, Optional, Tuple

from percentdelta._text import quoted
from percentdelta.errors import UsageError

_MAX_METRICS = 32
_MAX_NAME_BYTES = 64

Sums = Tuple[Tuple[str, float, float], ...]


def checked(who: str, metrics: Optional[Mapping[str, Tuple[float, float]]]) -> Sums:
    """Name, sum and count of each; raises UsageError, whose message begins with `who`."""
    def bad(what: str, expected: str, got: object) -> UsageError:
        return UsageError(f"{who}: {what}: expected {expected}, got {got}")

    if metrics is None:
        return ()
    if not isinstance(metrics, Mapping):
        raise bad("metrics", "{name: (sum, count)}", type(metrics).__name__)
    if len(metrics) > _MAX_METRICS:
        raise bad("metrics", f"at most {_MAX_METRICS}", len(metrics))
    sums = []
    for name, value in metrics.items():
        if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME_BYTES or not all(
                " " < c < "\x7f" and c not in '"\\' for c in name):
            raise bad("metrics: name", f"1..{_MAX_NAME_BYTES} printable ASCII characters without "
                      "blanks, quotes, backslashes",
                      quoted(name) if isinstance(name, str) else repr(name))
        what = f"metrics: {name}"
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise bad(what, "(sum, count)", repr(value))
        total, count = (_number(each) for each in value)
        if total is None or not math.isfinite(total):
            raise bad(f"{what}: sum", "a finite number",
                      repr(value[0]) if total is None else f"{total:g}")
        if count is None or not 0 < count < math.inf:
            raise bad(f"{what}: count", "a finite number above 0",
                      repr(value[1]) if count is None else f"{count:g}")
        sums.append((name, total, count))
    return tuple(sums)


def _number(value: Any) -> Optional[float]:
    """None: not a number. NumPy's scalars are, and arrays and tensors of one entry."""
    try:
        value = value.item() if hasattr(value, "item") else value
        return None if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
