# SPDX-License-Identifier: Apache-2.0
"""A job of 100 million parameters, shaped as language models are: an embedding, wide dense layers."""

import math

import percentdelta as pd

LAYERS = 20
WIDTH = 1024
WORDS = 16384
SHARDS = 2
ENTRY_BYTES = 4


def shapes() -> dict[str, tuple[int, ...]]:
    """Returns the tensors' shapes by name, in the job's order."""
    found: dict[str, tuple[int, ...]] = {"embedding/weights": (WORDS, WIDTH)}
    for layer in range(LAYERS):
        wide = 4 * WIDTH
        shape = (WIDTH, wide) if layer % 2 == 0 else (wide, WIDTH)
        found[f"layer{layer}/weights"] = shape
        found[f"layer{layer}/biases"] = shape[1:]
    return found


def make_job(steps: int) -> pd.Job:
    """Returns a job with momentum and one gradient a step."""
    tensors = tuple(pd.Tensor(name, shape, pd.TruncatedNormal(0.1)) for name, shape in shapes().items())
    return pd.Job(
        name="scale", model=pd.Model("null", tensors),
        optimizer=pd.Optimizer(1e-3, pd.PercentDelta(epsilon=1e-4)), momentum=pd.Momentum(0.9, 0.9),
        gradients_per_step=1, max_steps=steps, batch_size=1, seed=1, data=pd.Data(100, 0))


def model_bytes() -> int:
    """Returns the bytes of the weights."""
    return ENTRY_BYTES * sum(math.prod(shape) for shape in shapes().values())
