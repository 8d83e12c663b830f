# SPDX-License-Identifier: Apache-2.0
"""How fast each layer learns: what every step's update did to every tensor, as plain data."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator, Sequence, Tuple, Union, overload


@dataclasses.dataclass(frozen=True)
class TensorStatistics:
    """What one step did to one tensor: norms of the aggregated gradient g and of the weights W
    before the update.

    rate                eta * gamma(t)
    multiplier          what the rule multiplies rate * g by: Equation 7 under PercentDelta
    relative_delta      ||delta||_1 / ||W||_1; 0 for a tensor that is all zero
    sgd_relative_delta  what plain SGD at the same rate would have done
    """

    step: int
    tensor: str
    layer: str
    entries: int
    gradient_l1: float
    gradient_l2: float
    weight_l1: float
    weight_l2: float
    rate: float
    multiplier: float
    relative_delta: float
    sgd_relative_delta: float


@dataclasses.dataclass(frozen=True)
class StepStatistics:
    """One step; `tensors` in the job's order. `skipped_steps` (watch only): steps lost between the
    one before and this one, because the reader was too slow."""

    step: int
    tensors: Tuple[TensorStatistics, ...]
    skipped_steps: int = 0


class Statistics(Sequence[StepStatistics]):
    """Steps by ascending number. `oldest_step`: the oldest that the cluster still retains, -1: none
    yet."""

    def __init__(self, steps: Sequence[StepStatistics], oldest_step: int) -> None:
        self._steps = tuple(steps)
        self.oldest_step = oldest_step

    @overload
    def __getitem__(self, index: int) -> StepStatistics: ...

    @overload
    def __getitem__(self, index: slice) -> Tuple[StepStatistics, ...]: ...

    def __getitem__(self, index: Union[int, slice]) -> Any:
        return self._steps[index]

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[StepStatistics]:
        return iter(self._steps)

    def __repr__(self) -> str:
        if not self._steps:
            return "Statistics(no step)"
        return f"Statistics(steps {self._steps[0].step}..{self._steps[-1].step})"

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a row for each step and tensor, and TensorStatistics' fields as
        columns: those of `pdctl stats --format=csv`. ImportError where there is no pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("percentdelta: to_pandas() needs pandas: install Debian's "
                              "python3-pandas, or pandas from PyPI") from error
        columns = [field.name for field in dataclasses.fields(TensorStatistics)]
        return pandas.DataFrame(
            [[getattr(tensor, name) for name in columns]
             for step in self._steps for tensor in step.tensors], columns=columns)
