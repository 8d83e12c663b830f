# SPDX-License-Identifier: Apache-2.0
"""The project's random numbers, written down to the last bit: common/base/random.h in Python.

The same on every platform and in every language: what follows from a seed (the order of the
examples, what is random in a gradient) follows from here. The generator is SplitMix64 (Steele, Lea,
Flood, "Fast splittable pseudorandom number generators", 2014).
"""

from __future__ import annotations

from typing import Any, Union

import numpy as np

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, made odd

Uint64Array = Any  # numpy.ndarray of uint64


def mix64(value: int) -> int:
    """SplitMix64's finalizer, a bijection of the 64-bit numbers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def hash64(first: int, second: int) -> int:
    """A hash of an ordered pair; it nests."""
    return mix64((mix64((first + _GAMMA) & _MASK) + second) & _MASK)


def hash_string(text: Union[str, bytes]) -> int:
    """FNV-1a with 64 bits, of the bytes of `text` in UTF-8."""
    result = 0xCBF29CE484222325
    for byte in text.encode("utf-8") if isinstance(text, str) else text:
        result = ((result ^ byte) * 0x100000001B3) & _MASK
    return result


class RandomStream:
    """The random numbers named (seed, stream), each in 0..2**64-1. Not thread-safe."""

    def __init__(self, seed: int, stream: int) -> None:
        self._state = hash64(seed & _MASK, stream & _MASK)

    def next(self) -> int:
        """All 2^64 values are equally likely."""
        self._state = (self._state + _GAMMA) & _MASK
        return mix64(self._state)

    def below(self, bound: int) -> int:
        """In 0..bound-1, all exactly equally likely. `bound` >= 1."""
        surplus = -bound % (1 << 64) % bound
        number = self.next()
        while number < surplus:
            number = self.next()
        return number % bound

    def uniform(self) -> float:
        """In [0, 1), a multiple of 2^-53."""
        return (self.next() >> 11) * 2.0 ** -53

    def take(self, count: int) -> Uint64Array:
        """The next `count` numbers of next(), as an array of uint64."""
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA)
        values = steps + np.uint64(self._state)
        self._state = (self._state + count * _GAMMA) & _MASK
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))

    def uniforms(self, count: int) -> Any:
        """The next `count` numbers of uniform(), as an array of float64."""
        return (self.take(count) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53

    def take_below(self, bounds: Uint64Array) -> Uint64Array:
        """below(bound) for each of `bounds` (uint64, each >= 1) in order, as an array."""
        surplus = (~bounds + np.uint64(1)) % bounds
        result = np.empty_like(bounds)
        done = 0
        while done < len(bounds):
            before = self._state
            numbers = self.take(len(bounds) - done)
            refused = np.flatnonzero(numbers < surplus[done:])
            good = int(refused[0]) if len(refused) else len(numbers)
            result[done:done + good] = numbers[:good] % bounds[done:done + good]
            if good < len(numbers):  # the one after it is tried for the same bound
                self._state = (before + (good + 1) * _GAMMA) & _MASK
            done += good
        return result
