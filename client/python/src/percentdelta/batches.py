# SPDX-License-Identifier: Apache-2.0
"""Which examples a batch holds, and what is random in a gradient: worker/data/batches.h in Python.

Functions of seed, epoch, step and slot that are written down to the last bit, so that every worker,
in every language, takes the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from percentdelta.random_numbers import RandomStream, hash64, hash_string


def epoch_order(seed: int, epoch: int, examples: int) -> Any:
    """The order in which the epoch passes over the examples 0..examples-1, as an array of int64:
    Fisher and Yates's shuffle with RandomStream(seed, hash64(hash_string("epoch order"),
    epoch))."""
    stream = RandomStream(seed, hash64(hash_string("epoch order"), epoch))
    others = stream.take_below(np.arange(examples, 1, -1, dtype=np.uint64)).tolist()
    order = list(range(examples))
    for i, other in zip(range(examples - 1, 0, -1), others):
        order[i], order[other] = order[other], order[i]
    return np.array(order, dtype=np.int64)


def gradient_key(seed: int, step: int, slot: int) -> int:
    """Names whatever is random in a gradient, as in RandomStream(key, example): a function of the
    gradient's place in the training, whichever worker computes it. In 0..2**64-1."""
    return hash64(seed, hash64(hash_string("gradient"), hash64(step, slot)))


class BatchSource:
    """Batches of a data set of `examples` >= 1 examples; keeps the order of the epoch last asked
    for. Not thread-safe."""

    def __init__(self, seed: int, examples: int) -> None:
        self._seed = seed
        self._examples = examples
        self._epoch = -1
        self._order: Any = None

    def examples(self, epoch: int, batch_index: int, batch_size: int) -> Any:
        """Entries batch_index * batch_size and the following of the epoch's order, as a read-only
        array of int64: `batch_size` of them, or what is left at the epoch's end."""
        if epoch != self._epoch:
            self._order = epoch_order(self._seed, epoch, self._examples)
            self._order.flags.writeable = False
            self._epoch = epoch
        return self._order[batch_index * batch_size:(batch_index + 1) * batch_size]
