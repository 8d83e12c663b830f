# SPDX-License-Identifier: Apache-2.0
"""A step of a module of PyTorch's on a fake cluster: no tensor arrives before it is waited for."""

import dataclasses

import numpy as np

import percentdelta as pd
import torch_helpers  # noqa: F401  which skips without PyTorch

from percentdelta.torch import _parts
from percentdelta.torch._bound_module import BoundModule


def aligned(size, offset):
    """An array `offset` entries behind a multiple of 64 bytes."""
    memory = np.full(size + 32, np.nan, np.float32)
    begin = -memory.ctypes.data // 4 % 16 + offset
    return memory[begin:begin + size]


class FakeWeights:
    """Has garbage in each array until it is waited for, unless there at once."""

    def __init__(self, values, at_once, log, offset=0):
        self.values = values
        self.arrays = [aligned(value.size, offset) for value in values.values()]
        self.log = log
        self.there = set()
        for name in at_once:
            self.arrive(name)

    def arrive(self, name):
        self.there.add(name)
        self.arrays[list(self.values).index(name)][:] = self.values[name].reshape(-1)

    def is_there(self, name):
        return name in self.there

    def wait(self, name):
        if name not in self.there:
            self.log.append(f"wait {name}")
        self.arrive(name)


@dataclasses.dataclass
class FakeLease:
    weights: FakeWeights
    log: list
    step: int = 4
    pushed: dict = dataclasses.field(default_factory=dict)

    renewals: int = 0

    def pull(self):
        return self.weights

    def progress(self):
        self.renewals += 1

    def push(self, name, array):
        assert name not in self.pushed
        assert array.dtype == np.float32 and array.flags.c_contiguous
        self.log.append(f"push {name}")
        self.pushed[name] = array


def job_of(module):
    """Of all trained parameters and the state."""
    return pd.Job("job", pd.Model("model", tuple(
        pd.Tensor(part.tensor_name, part.shape, buffer=part.kind != "trained")
        for part in _parts.parts_of(module) if part.kind in ("trained", "state"))),
        pd.Optimizer(0.1, pd.Sgd()), 10, 1, pd.Data(10))


def step(module, x, at_once=(), log=None):
    """The lease after a step of `module`, with the values that it has now."""
    log = [] if log is None else log
    bound = BoundModule(module, job_of(module))
    values = {entry.name: entry.value.detach().float().numpy().copy() for entry in bound._entries}
    lease = FakeLease(FakeWeights(values, at_once, log), log)
    try:
        bound.load(lease)
        with bound.forward():
            output = module(x)
        if not bound.has_noticed(output.mean()):
            log.append("again")
            bound.load(lease)
            with bound.forward():
                output = module(x)
        bound.push_buffers()
        loss = output.mean()
        bound.has_noticed(loss)
        bound.backward(loss)
    finally:
        bound.close()
    return lease
