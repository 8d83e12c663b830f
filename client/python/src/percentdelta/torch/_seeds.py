# SPDX-License-Identifier: Apache-2.0
"""Seeds every generator that a module or a data set may draw from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from percentdelta.random_numbers import hash64, hash_string

_EVALUATION = hash_string("torch evaluation")


def evaluation_key(seed: int, step: int) -> int:
    """For whatever is random in an evaluation, which should be nothing."""
    return hash64(hash64(seed, _EVALUATION), step)


def seed_cpu(key: int) -> None:
    """Those of Python, NumPy and PyTorch for the CPU, with a key in 0..2**64-1; 20 us."""
    random.seed(key)
    np.random.seed(key & 0xFFFFFFFF)
    torch.default_generator.manual_seed(key)


def seed_all(key: int) -> None:
    """Those of seed_cpu() and CUDA's, as torch.manual_seed() does, without the costs that this has
    while CUDA is not in use."""
    seed_cpu(key)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(key)


class GeneratorStates:
    """Puts the generators back to where they were."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy: Any = np.random.get_state()
        self._torch = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def restore(self) -> None:
        """To the states when this object was made."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)
