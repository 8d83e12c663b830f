# SPDX-License-Identifier: Apache-2.0
"""Which shard owns which entries of which tensor: the rule of common/job/partition.h.

A function of the tensors' sizes and the number of shards alone: the tensors, cut into blocks of
16384 entries, are laid end to end in the job's order and dealt to the shards in equal stretches.
"""

from __future__ import annotations

import dataclasses
from typing import List, Sequence, Tuple

BLOCK_ENTRIES = 16384

# Values in one message: 1 MiB by habit, 4 MiB at most, as of one whose values are in shared memory.
CHUNK_ENTRIES = 16 * BLOCK_ENTRIES
MAX_CHUNK_ENTRIES = 4 * CHUNK_ENTRIES


@dataclasses.dataclass(frozen=True)
class Slice:
    """The entries begin..end-1 of a flattened tensor, on one shard. `tensor`: its index."""

    tensor: int
    shard: int
    begin: int
    end: int


class Partition:
    """Immutable. `sizes`: entries of each tensor; `shards` >= 1."""

    def __init__(self, sizes: Sequence[int], shards: int) -> None:
        of_shard: List[List[Slice]] = [[] for _ in range(shards)]
        total = sum(sizes)
        shard = dealt = 0
        for tensor, size in enumerate(sizes):
            for begin in range(0, size, BLOCK_ENTRIES):
                # Shard s is full once s + 1 equal shares of the total have been dealt.
                while shard + 1 < shards and dealt * shards >= total * (shard + 1):
                    shard += 1
                end = min(begin + BLOCK_ENTRIES, size)
                slices = of_shard[shard]
                if slices and slices[-1].tensor == tensor:
                    slices[-1] = dataclasses.replace(slices[-1], end=end)
                else:
                    slices.append(Slice(tensor, shard, begin, end))
                dealt += end - begin
        self.of_shard: Tuple[Tuple[Slice, ...], ...] = tuple(map(tuple, of_shard))

    @property
    def shards(self) -> int:
        """Number of shards, some of which may own nothing."""
        return len(self.of_shard)

    def of_tensor(self, tensor: int) -> Tuple[Slice, ...]:
        """In ascending offsets; together they are the whole tensor."""
        return tuple(each for slices in self.of_shard for each in slices if each.tensor == tensor)
