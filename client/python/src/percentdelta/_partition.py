# SPDX-License-Identifier: Apache-2.0
"""Which shard owns which entries of which tensor, as the coordinator says it."""

from __future__ import annotations

import dataclasses
from typing import Dict, Iterable, Sequence, Tuple

from percentdelta import errors
from percentdelta.job import Tensor


@dataclasses.dataclass(frozen=True)
class Slice:
    """The entries begin..end-1 of a flattened tensor, on one shard. `tensor`: its index."""

    tensor: int
    begin: int
    end: int
    shard: int


class Partition:
    """The slices of each shard, by tensor. Immutable.

    Raises ServerError (DATA_LOSS) unless the slices, in their order, cover each of the tensors from
    its first entry to its last, and none is on a shard that has another of the tensor.
    """

    def __init__(self, slices: Iterable[Slice], tensors: Sequence[Tensor], shards: int) -> None:
        of_shard: Tuple[Dict[int, Slice], ...] = tuple({} for _ in range(shards))
        following = iter(slices)
        for index, tensor in enumerate(tensors):
            size = tensor.size
            begin = 0
            while begin < size:
                part = next(following, None)
                if part is None or part.tensor != index or part.begin != begin \
                        or not begin < part.end <= size:
                    raise _bad(f"tensor {tensor.name}: expected a slice from entry {begin} up to "
                               f"{size} at most", part)
                if not 0 <= part.shard < shards or index in of_shard[part.shard]:
                    raise _bad(f"tensor {tensor.name}: expected one slice on each of some shards "
                               f"of 0..{shards - 1}", part)
                of_shard[part.shard][index] = part
                begin = part.end
        if (part := next(following, None)) is not None:
            raise _bad("expected no slice after the last tensor's", part)
        self.of_shard = of_shard


def _bad(expected: str, part: object) -> errors.Error:
    got = "none" if part is None else part
    return errors.make("DATA_LOSS", f"the coordinator's partition: {expected}, got {got}")
