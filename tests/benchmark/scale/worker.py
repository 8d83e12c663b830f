#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""worker.py ADDRESS shared_memory|connection WAY: a worker whose gradients cost nothing.

WAY is where its gradients are: `lease`, in the lease's arrays; `one`, in an array of its own that is
made, pushed and forgotten, tensor by tensor, as autograd does it; `own`, in arrays of its own, all held
at once. Prints for each step the seconds until all weights have arrived, and from then until the servers
have taken the gradient.
"""

import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "client/python/src"))

import numpy as np  # noqa: E402

import percentdelta as pd  # noqa: E402
from tests.benchmark.scale.job import shapes  # noqa: E402

NOISE = np.random.default_rng(1).normal(size=1 << 20).astype(np.float32)

Array = np.ndarray[Any, np.dtype[np.float32]]


def fill(array: Array) -> Array:
    """Fills an array with noise; returns it."""
    flat = array.reshape(-1)
    for begin in range(0, flat.size, NOISE.size):
        flat[begin:begin + NOISE.size] = NOISE[:flat.size - begin]
    return array


def pusher(way: str) -> Callable[[pd.Lease], None]:
    """Returns what pushes the gradients of a lease."""
    held: dict[str, Array] = {}
    filled: set[int] = set()

    def push(lease: pd.Lease) -> None:
        for name, shape in reversed(shapes().items()):
            if way == "lease":
                array = lease.gradient(name)
                if array.ctypes.data not in filled:  # else still what it was in the last step
                    filled.add(fill(array).ctypes.data)
                lease.push(name, array)
            elif way == "one":
                lease.push(name, fill(np.empty(shape, np.float32)))
            else:
                if name not in held:
                    held[name] = fill(np.empty(shape, np.float32))
                lease.push(name, held[name])

    return push


def main() -> None:
    address, transport, way = sys.argv[1:]
    push = pusher(way)
    with pd.Worker(address, shared_memory=transport == "shared_memory") as worker:
        for lease in worker:
            with lease:
                began = time.monotonic()
                lease.pull().wait()
                pulled = time.monotonic()
                push(lease)
                lease.complete(loss_sum=1.0)
                print(f"{pulled - began:.6f} {time.monotonic() - pulled:.6f}", flush=True)


if __name__ == "__main__":
    main()
